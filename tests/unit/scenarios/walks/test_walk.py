"""Walks drawn from a seed, and the commands that repeat them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from session_affinity.scenarios.walks.commands import commands
from session_affinity.scenarios.walks.objects import (
    Fault,
    Manifest,
    Objects,
    Request,
    Verb,
    in_family,
    placed,
    requests,
)
from session_affinity.scenarios.walks.service_edits import service
from session_affinity.scenarios.walks.slice_edits import endpoint_slice
from session_affinity.scenarios.walks.steps import Scope, SeededChoice, Wait
from session_affinity.scenarios.walks.walk import kinds, script, seeded_walk

NODES = ("one", "two")


def test_a_seed_gives_the_same_walk_in_another_process() -> None:
    program = (
        "from session_affinity.scenarios.walks.walk import *;"
        "from session_affinity.scenarios.walks.steps import Scope;"
        f"print(script(seeded_walk(7, 40, kinds(Scope.NODES), {NODES})))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert other.stdout == script(seeded_walk(7, 40, kinds(Scope.NODES), NODES)) + "\n"


def test_seeds_give_different_walks() -> None:
    scripts = {script(seeded_walk(seed, 40, kinds(Scope.NODES), NODES)) for seed in range(10)}

    assert len(scripts) == 10


def test_a_choice_reaches_every_option() -> None:
    choose = SeededChoice(1)

    assert {choose("abc") for _ in range(100)} == {"a", "b", "c"}


@pytest.mark.parametrize("scope", list(Scope))
def test_a_walk_changes_no_more_than_its_scope(scope: Scope) -> None:
    walk = seeded_walk(3, 300, kinds(scope), NODES)
    text = script(walk)

    assert ("externalIPs" in text or "ingress" in text) is (scope >= Scope.ADDRESSES)
    assert ("as root on" in text) is (scope >= Scope.NODES)


def test_a_walk_ends_with_a_wait_and_without_faults() -> None:
    for seed in range(20):
        walk = seeded_walk(seed, 30, kinds(Scope.NODES), NODES)

        assert isinstance(walk[-1].step, Wait)
        assert not walk[-1].after.faults


A = service("walk-a", ["web"])
SLICE = endpoint_slice("walk-a-1", "walk-a", [])


def test_what_is_created_is_applied_and_its_status_patched() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.91"}]}}

    apply, patch = commands(Request(Verb.CREATE, {**A, "status": status}))

    assert apply.startswith("kubectl apply -f - <<'EOF'\napiVersion: v1\nkind: Service\n")
    assert "status" not in apply
    assert patch == (
        "kubectl patch service walk-a --subresource status --type merge -p "
        '\'{"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.91"}]}}}\''
    )


def test_a_change_is_a_merge_patch() -> None:
    changed = {**A, "spec": {**A["spec"], "sessionAffinity": "ClientIP"}}

    assert list(commands(Request(Verb.CHANGE, changed, A))) == [
        'kubectl patch service walk-a --type merge -p \'{"spec": {"sessionAffinity": "ClientIP"}}\''
    ]


def test_addresses_of_a_load_balancer_are_withdrawn_by_the_subresource() -> None:
    before = {**A, "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.91"}]}}}

    (command,) = commands(Request(Verb.CHANGE, A, before))

    assert command.endswith("""--subresource status --type merge -p '{"status": {"loadBalancer": null}}'""")


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request(Verb.DELETE, SLICE), "kubectl delete endpointslice walk-a-1"),
        (
            Request(Verb.LABEL_ZONE, node="two", value="z"),
            "kubectl label node two topology.kubernetes.io/zone=z --overwrite",
        ),
        (Request(Verb.LABEL_ZONE, node="two"), "kubectl label node two topology.kubernetes.io/zone-"),
    ],
)
def test_other_requests_are_commands_too(request_: Request, command: str) -> None:
    assert list(commands(request_)) == [command]


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("verb", [Verb.BEGIN_FAULT, Verb.END_FAULT])
def test_faults_are_commands_on_a_node(verb: Verb, fault: Fault) -> None:
    (command,) = commands(Request(verb, node="two", value=fault))

    assert command.endswith("# as root on two")


def test_requests_are_what_two_states_differ_in() -> None:
    before = Objects(NODES, {"walk-a": A}, {"walk-a-1": SLICE}, faults={"one": Fault.PAUSED})
    changed: Manifest = {**SLICE, "endpoints": [{"addresses": ["192.0.2.71"]}]}
    after = Objects(NODES, {"walk-b": service("walk-b", ["web"])}, {"walk-a-1": changed}, {"two": "z"})

    assert [(request.verb, request.manifest.get("kind") or request.node) for request in requests(before, after)] == [
        (Verb.END_FAULT, "one"),
        (Verb.DELETE, "Service"),
        (Verb.CREATE, "Service"),
        (Verb.CHANGE, "EndpointSlice"),
        (Verb.LABEL_ZONE, "two"),
    ]
    assert list(requests(after, after)) == []


def test_objects_of_a_run_have_names_of_their_own() -> None:
    request = placed(Request(Verb.CREATE, SLICE), "affinity-walk-x1-")

    assert request.manifest["metadata"] == {
        "name": "affinity-walk-x1-a-1",
        "labels": {"kubernetes.io/service-name": "affinity-walk-x1-a"},
    }
    assert SLICE["metadata"]["name"] == "walk-a-1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.71", "2001:db8::2:71"),
        (" 192.0.2.0/24", " 2001:db8::2:0/112"),
        ("0.0.0.0/0", "::/0"),
        ("fd00::/8", "10.0.0.0/8"),
        ("walk-a", "walk-a"),
    ],
)
def test_addresses_have_the_family_of_the_cluster(text: str, expected: str) -> None:
    assert in_family(text, "IPv6") == expected
    assert in_family(text, "IPv4") == text


def test_slices_have_the_family_of_the_cluster() -> None:
    manifest = endpoint_slice("walk-a-1", "walk-a", [{"addresses": ["192.0.2.71"]}])

    other = placed(Request(Verb.CREATE, manifest), "walk-", "IPv6").manifest

    assert other["addressType"] == "IPv6"
    assert other["endpoints"] == [{"addresses": ["2001:db8::2:71"]}]
    assert manifest["addressType"] == "IPv4"
