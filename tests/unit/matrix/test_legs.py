"""The legs for an event of GitHub Actions and for the command line, and the matrix of the workflow."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ci.matrix.cli import main
from ci.matrix.legs import Breadth, breadth_of, chosen, github_matrix, planned
from session_affinity import versions
from session_affinity.errors import UsageError
from session_affinity.legs import Leg
from session_affinity.versions import KindImage, KubernetesVersion, KubernetesVersions

pytestmark = pytest.mark.unit


def version(
    minor: str, modes: tuple[str, ...] = ("iptables", "nftables"), *, default: bool = False
) -> KubernetesVersion:
    image = KindImage("v0.33.0", f"kindest/node:v{minor}.1@sha256:{'0' * 64}")
    return KubernetesVersion(minor, f"{minor}.2", image, modes, default)


SUPPORTED = KubernetesVersions((version("1.9"), version("1.10"), version("1.11", default=True)))


def names(legs: tuple[Leg, ...]) -> list[str]:
    return [leg.name for leg in legs]


def test_a_change_runs_the_oldest_version_the_default_in_every_mode_and_one_dual_stack_leg() -> None:
    assert names(planned(SUPPORTED, Breadth.CHANGE, "kind")) == [
        "1.9 iptables kind",
        "1.11 iptables kind",
        "1.11 nftables kind",
        "1.11 iptables kind dual",
    ]


def test_a_newest_version_that_is_not_the_default_is_judged_too() -> None:
    supported = KubernetesVersions((*SUPPORTED.versions, version("1.12")))

    legs = names(planned(supported, Breadth.CHANGE, "kind"))
    assert "1.12 iptables kind" in legs
    assert [leg for leg in legs if leg.endswith("dual")] == ["1.12 iptables kind dual"]


def test_the_nightly_run_has_every_version_in_its_modes_and_dual_stack_the_newest_and_the_oldest() -> None:
    supported = KubernetesVersions((replace(SUPPORTED.versions[0], proxy_modes=("nftables",)), *SUPPORTED.versions[1:]))

    assert names(planned(supported, Breadth.ALL, "embedded")) == [
        "1.9 nftables embedded",
        "1.9 nftables embedded dual",
        "1.10 iptables embedded",
        "1.10 nftables embedded",
        "1.11 iptables embedded",
        "1.11 nftables embedded",
        "1.11 iptables embedded dual",
        "1.11 nftables embedded dual",
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
def test_pull_requests_run_few_legs_and_nightly_and_manual_runs_all(event: str, breadth: Breadth) -> None:
    assert breadth_of(event) is breadth


def test_an_event_that_triggers_no_workflow_is_refused() -> None:
    with pytest.raises(UsageError, match="'push'"):
        breadth_of("push")


def test_versions_and_modes_choose_legs_of_which_the_newest_is_also_dual_stack() -> None:
    assert names(chosen(SUPPORTED, "embedded", minors=["1.11", "1.9"], modes=["nftables"])) == [
        "1.9 nftables embedded",
        "1.11 nftables embedded",
        "1.11 nftables embedded dual",
    ]
    assert len(chosen(SUPPORTED, "embedded", minors=["1.10"])) == 4


def test_the_dual_stack_leg_of_a_mode_is_of_the_newest_version_that_has_the_mode() -> None:
    supported = KubernetesVersions((*SUPPORTED.versions, version("1.12", ("nftables",))))

    legs = names(chosen(supported, "embedded", minors=supported.minors))
    assert [leg for leg in legs if leg.endswith("dual")] == [
        "1.11 iptables embedded dual",
        "1.12 nftables embedded dual",
    ]


def test_named_families_apply_to_every_chosen_version() -> None:
    assert names(
        chosen(SUPPORTED, "embedded", minors=["1.9", "1.11"], modes=["iptables"], families=["ipv4", "dual"])
    ) == [
        "1.9 iptables embedded",
        "1.9 iptables embedded dual",
        "1.11 iptables embedded",
        "1.11 iptables embedded dual",
    ]


@pytest.mark.parametrize(
    ("minors", "modes", "families", "message"),
    [
        (["1.8"], [], [], "Kubernetes version 1.8"),
        (["1.9"], ["ipvs"], [], "proxy mode ipvs"),
        (["1.9"], [], ["both"], "IP family both"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(
    minors: list[str], modes: list[str], families: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(SUPPORTED, "embedded", minors=minors, modes=modes, families=families)


def test_a_version_that_lacks_the_chosen_mode_is_refused() -> None:
    supported = KubernetesVersions((version("1.9", ("iptables",)), version("1.10")))

    with pytest.raises(UsageError, match=r"1\.9 cannot run in nftables mode"):
        chosen(supported, "embedded", minors=["1.9"], modes=["nftables"])


def test_a_job_of_the_workflow_has_the_leg_and_what_to_install() -> None:
    (leg,) = github_matrix([Leg("1.10", "nftables", "kind", "dual")], SUPPORTED)["include"]

    assert leg == {
        "leg": "k8s-1-10-nftables-kind-dual",
        "name": "1.10 nftables kind dual",
        "kubernetes": "1.10",
        "proxy_mode": "nftables",
        "provider": "kind",
        "ip_family": "dual",
        "kind": "v0.33.0",
        "image": f"kindest/node:v1.10.1@sha256:{'0' * 64}",
    }


def test_the_plan_job_gets_its_matrix_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--event", "schedule", "--github"]) == 0

    name, _, value = capsys.readouterr().out.rstrip("\n").partition("=")
    legs = json.loads(value)["include"]
    supported = versions.load()
    assert name == "matrix"
    assert "\n" not in value
    assert [(leg["kubernetes"], leg["proxy_mode"]) for leg in legs if leg["ip_family"] == "ipv4"] == [
        (version.minor, mode) for version in supported.versions for mode in version.proxy_modes
    ]
    assert [(leg["kubernetes"], leg["proxy_mode"]) for leg in legs if leg["ip_family"] == "dual"] == [
        (supported.versions[0].minor, "iptables"),
        *((supported.versions[-1].minor, mode) for mode in supported.versions[-1].proxy_modes),
    ]
