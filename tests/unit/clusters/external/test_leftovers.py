"""What killed runs left in existing namespaces, and what of it may be removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from session_affinity.cli.commands import cleanup
from session_affinity.cluster_objects.labels import OF_SUITE
from session_affinity.clusters.external import access, lease, leftovers, provider
from session_affinity.clusters.external.lease import RunState
from session_affinity.clusters.options import ClusterOptions
from session_affinity.clusters.state_directory import STATE_VARIABLE
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, UsageError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import (
    DAEMON_SETS,
    ENDPOINT_SLICES,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

PAST, FUTURE = ((datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (-1, 1))


class Notes(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Api:
    """A cluster with these objects, by kind; ``refused`` kinds cannot be listed."""

    def __init__(self, objects: dict[Resource, list[dict[str, Any]]], *refused: Resource) -> None:
        self.stored = objects
        self.refused = refused

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[dict[str, Any]]:
        assert labels == OF_SUITE or resource is NETWORK_POLICIES
        if resource in self.refused:
            raise ApiError(f"GET {resource.plural}: 403: forbidden", status=403)
        return [each for each in self.stored.get(resource, []) if namespace in ("", each["metadata"].get("namespace"))]

    def get(self, resource: Resource, name: str, *_: object) -> dict[str, Any]:
        if resource is NAMESPACES and resource not in self.stored:
            raise ApiError("GET: 403: forbidden", status=403)
        found = [each for each in self.stored.get(resource, []) if each["metadata"]["name"] == name]
        if not found:
            raise ApiError("GET: 404: not found", status=404)
        return found[0]

    def delete(self, resource: Resource, name: str, *_: object, **__: object) -> None:
        self.stored[resource] = [each for each in self.stored[resource] if each["metadata"]["name"] != name]

    @property
    def names(self) -> list[str]:
        return [
            f"{kind.plural}/{each['metadata']['name']}" for kind, of_kind in self.stored.items() for each in of_kind
        ]


def thing(name: str, run: str = "", expires: str = "", namespace: str = "team", **more: Any) -> dict[str, Any]:
    annotations = {lease.OWNER: "process 7 on laptop", lease.RUN: run, lease.EXPIRES: expires}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": "2026-11-26T04:00:00Z",
            "annotations": {key: value for key, value in annotations.items() if value},
            **more,
        }
    }


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the leases."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_objects_are_grouped_by_run_with_what_is_known_of_it(runs: Path) -> None:
    (runs / "dead.lock").touch()
    api = Api(
        {
            SERVICES: [thing("a", "old", PAST), thing("b", "live", FUTURE), thing("c", "dead", FUTURE)],
            PODS: [
                thing("d", "old", PAST),
                thing("agent-x", ownerReferences=[{"kind": "DaemonSet"}]),
                thing("e", "old", PAST, namespace="elsewhere"),
                thing("f", "old", PAST, deletionTimestamp="now"),
            ],
        }
    )

    found = {(each.namespace, each.run): each for each in leftovers.find_objects(api, without=["elsewhere"])}

    assert {run: leftover.state for (_, run), leftover in found.items()} == {
        "old": RunState.EXPIRED,
        "live": RunState.UNKNOWN,
        "dead": RunState.OVER,
    }
    assert found["team", "old"].objects == [(SERVICES, "a"), (PODS, "d")]
    assert "services/a, pods/d in namespace team: expired" in str(found["team", "old"])
    assert "may be in use until" in str(found["team", "live"])
    assert "left by a run of this machine that was killed" in str(found["team", "dead"])


def test_removal_waits_for_the_objects_and_the_pods_of_the_agents() -> None:
    agents = {
        DAEMON_SETS: [thing("node-agent", "old", PAST)],
        PODS: [thing("node-agent-x", ownerReferences=[{"kind": "DaemonSet"}])],
    }
    api = Api(agents)

    with pytest.raises(ClusterError, match=r"still there after .*: pods/node-agent-x in team"):
        leftovers.remove(api, leftovers.find_objects(api), deadlines=Deadlines(namespace_removal=0.05))
    assert api.names == ["pods/node-agent-x"]


def test_removal_does_not_wait_for_the_pod_of_the_job_that_the_suite_runs_in() -> None:
    stored = {
        DAEMON_SETS: [thing("node-agent", "old", PAST)],
        PODS: [thing("session-affinity-conformance-x", ownerReferences=[{"kind": "Job"}])],
    }
    api = Api(stored)

    leftovers.remove(api, leftovers.find_objects(api), deadlines=Deadlines(namespace_removal=0.05))

    assert api.names == ["pods/session-affinity-conformance-x"]


def test_an_expired_run_is_removed_from_an_existing_namespace_and_the_run_goes_on() -> None:
    api = Api({SERVICES: [thing("a", "old", PAST)], NETWORK_POLICIES: [thing("default-deny")]})
    progress = Notes()

    with provider._workspace(api, "run", ClusterOptions(namespace="team"), progress) as namespaces:
        assert namespaces == ("team", "team")
        assert api.names == ["networkpolicies/default-deny"]
        api.stored[PODS] = [thing("webpod1", "run", FUTURE)]
    assert api.names == ["networkpolicies/default-deny"]
    assert "NetworkPolicies in namespace team: default-deny" in progress.notes[0]
    assert progress.notes[1].startswith("services/a in namespace team: expired")


def test_another_run_in_the_namespace_is_not_disturbed() -> None:
    api = Api({PODS: [thing("webpod1", "other", FUTURE)]})

    with (
        pytest.raises(
            ClusterError, match=r"another run works in the namespace: pods/webpod1.*\n  next: .*cleanup --all"
        ),
        provider._workspace(api, "run", ClusterOptions(namespace="team"), Notes()),
    ):
        pytest.fail("the namespace is in use")
    assert api.names == ["pods/webpod1"]


def test_a_namespace_that_is_not_there_is_a_usage_error() -> None:
    api = Api({})
    api.stored[NAMESPACES] = []

    with (
        pytest.raises(UsageError, match="there is no namespace team"),
        provider._workspace(api, "run", ClusterOptions(namespace="team"), Notes()),
    ):
        pytest.fail("there is no namespace")


def test_only_what_a_run_creates_needs_to_be_listed() -> None:
    options = ClusterOptions(namespace="team", node_access="agent", agent_namespace="agents")

    assert provider.kinds_of(ClusterOptions(namespace="team")) == {"team": (SERVICES, ENDPOINT_SLICES, PODS)}
    assert provider.kinds_of(options) == {
        "team": (SERVICES, ENDPOINT_SLICES, PODS),
        "agents": (DAEMON_SETS, SERVICE_ACCOUNTS, PODS),
    }
    assert provider.kinds_of(ClusterOptions(node_access="agent")) == {}


def everything() -> Api:
    made = thing("session-affinity-abc123", expires=FUTURE)
    return Api(
        {
            NAMESPACES: [made],
            SERVICES: [thing("inside", namespace="session-affinity-abc123"), thing("a", "old", PAST)],
            PODS: [thing("webpod1", "live", FUTURE)],
        },
        SECRETS,
    )


@pytest.mark.parametrize(
    ("arguments", "left", "line"),
    [
        pytest.param(
            [], ["namespaces/session-affinity-abc123", "services/inside", "pods/webpod1"], "; removed", id="expired"
        ),
        pytest.param(["--all"], ["services/inside"], "pods/webpod1 in namespace team: may be", id="all"),
        pytest.param(
            ["--dry-run"],
            ["namespaces/session-affinity-abc123", "services/inside", "services/a", "pods/webpod1"],
            "; would be removed",
            id="dry-run",
        ),
        pytest.param(
            ["--all", "--namespace", "team"],
            ["namespaces/session-affinity-abc123", "services/inside"],
            "services/a in namespace team",
            id="one-namespace",
        ),
    ],
)
def test_cleanup_removes_what_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], left: list[str], line: str
) -> None:
    api = everything()
    monkeypatch.setattr("session_affinity.kube.api.Api", lambda *_, **__: api)
    monkeypatch.setattr(access, "read", lambda *_: access.Access(None, "c", "server", "user"))
    monkeypatch.setattr(access, "require_answer", lambda *_, **__: "v1.37.0")

    result = CliRunner().invoke(cleanup.command, ["--kubeconfig", "F", *arguments], catch_exceptions=False)

    assert api.names == left
    assert line in result.output
    assert "secrets were not looked for: GET secrets: 403" in result.output


def test_cleanup_all_and_expired_exclude_each_other() -> None:
    result = CliRunner().invoke(cleanup.command, ["--all", "--expired"])

    assert "exclude each other" in result.output
