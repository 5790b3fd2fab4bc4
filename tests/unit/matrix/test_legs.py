"""Which legs an event runs, and what GitHub Actions is told of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ci.matrix.cli import main
from ci.matrix.legs import Breadth, Leg, breadth_of, chosen, github_matrix, planned
from session_affinity import versions
from session_affinity.errors import UsageError
from session_affinity.versions import KindImage, KubernetesVersion, KubernetesVersions

pytestmark = pytest.mark.unit


def version(
    minor: str, modes: tuple[str, ...] = ("iptables", "nftables"), *, default: bool = False
) -> KubernetesVersion:
    image = KindImage("v0.33.0", f"kindest/node:v{minor}.1@sha256:{'0' * 64}")
    return KubernetesVersion(minor, f"{minor}.2", image, modes, default)


KNOWN = KubernetesVersions((version("1.9"), version("1.10"), version("1.11", default=True)))


def names(legs: tuple[Leg, ...]) -> list[str]:
    return [leg.name for leg in legs]


def test_a_change_is_judged_on_the_oldest_and_the_default_version_in_every_mode() -> None:
    assert names(planned(KNOWN, Breadth.CHANGE, "kind")) == [
        "1.9 iptables kind",
        "1.11 iptables kind",
        "1.11 nftables kind",
    ]


def test_a_newest_version_that_is_not_the_default_is_judged_too() -> None:
    known = KubernetesVersions((*KNOWN.versions, version("1.12")))

    assert "1.12 iptables kind" in names(planned(known, Breadth.CHANGE, "kind"))


def test_everything_is_every_version_in_every_mode_that_it_has_oldest_first() -> None:
    known = KubernetesVersions((replace(KNOWN.versions[0], proxy_modes=("nftables",)), *KNOWN.versions[1:]))

    assert names(planned(known, Breadth.ALL, "embedded")) == [
        "1.9 nftables embedded",
        "1.10 iptables embedded",
        "1.10 nftables embedded",
        "1.11 iptables embedded",
        "1.11 nftables embedded",
    ]


@pytest.mark.parametrize(
    ("event", "breadth"),
    [
        ("pull_request", Breadth.CHANGE),
        ("merge_group", Breadth.CHANGE),
        ("schedule", Breadth.ALL),
        ("workflow_dispatch", Breadth.ALL),
    ],
)
def test_changes_are_judged_quickly_and_everything_at_night_and_by_hand(event: str, breadth: Breadth) -> None:
    assert breadth_of(event) is breadth


def test_an_event_that_no_workflow_has_is_refused() -> None:
    with pytest.raises(UsageError, match="'push'"):
        breadth_of("push")


def test_versions_and_modes_choose_legs() -> None:
    legs = planned(KNOWN, Breadth.ALL, "embedded")

    assert names(chosen(legs, ["1.9", "1.11"], ["nftables"])) == ["1.9 nftables embedded", "1.11 nftables embedded"]
    assert len(chosen(legs, ["1.10"], [])) == 2


@pytest.mark.parametrize(("minors", "modes", "what"), [(["1.8"], [], "1.8"), (["1.9"], ["ipvs"], "ipvs")])
def test_a_name_that_chooses_nothing_is_refused(minors: list[str], modes: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        chosen(planned(KNOWN, Breadth.ALL, "embedded"), minors, modes)


def test_a_job_is_told_what_installs_its_cluster() -> None:
    (leg,) = github_matrix([Leg("1.10", "nftables", "kind")], KNOWN)["include"]

    assert leg == {
        "leg": "k8s-1-10-nftables-kind",
        "name": "1.10 nftables kind",
        "kubernetes": "1.10",
        "proxy_mode": "nftables",
        "provider": "kind",
        "kind": "v0.33.0",
        "image": f"kindest/node:v1.10.1@sha256:{'0' * 64}",
    }


def test_the_plan_job_gets_one_line_that_its_matrix_is_read_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--event", "schedule", "--github"]) == 0

    name, _, value = capsys.readouterr().out.rstrip("\n").partition("=")
    legs = json.loads(value)["include"]
    known = versions.load()
    assert name == "matrix"
    assert "\n" not in value
    assert [(leg["kubernetes"], leg["proxy_mode"]) for leg in legs] == [
        (one.minor, mode) for one in known.versions for mode in one.proxy_modes
    ]
