"""Which cluster a run is on, why, and which options are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from session_affinity import versions
from session_affinity.clusters import choice
from session_affinity.clusters.choice import Machine
from session_affinity.clusters.options import ClusterOptions
from session_affinity.errors import PreflightError, UsageError

NOTHING = Machine()
DOCKER = Machine(engine="docker 28.2.2")
BOTH = Machine(engine="docker 28.2.2", kind=True)
STOPPED = Machine(no_engine="the docker engine does not answer", kind=True)
FILE = Path("some.kubeconfig")


@pytest.mark.parametrize(
    ("changes", "machine", "provider", "why"),
    [
        ({}, NOTHING, "embedded", "because kind is not on PATH"),
        ({}, DOCKER, "embedded", "because kind is not on PATH"),
        ({}, STOPPED, "embedded", "because the docker engine does not answer"),
        ({}, BOTH, "kind", "because kind is here and docker 28.2.2 answers"),
        ({"kubeconfig": FILE}, BOTH, "external", "because a kubeconfig is named"),
        ({"kube_proxy": FILE}, BOTH, "embedded", "because only it takes --kube-proxy"),
        ({"no_kube_proxy": True}, BOTH, "embedded", "because only it takes --no-kube-proxy"),
        ({"node_image": "a/b"}, NOTHING, "kind", "because only it takes --node-image"),
        ({"kubernetes": "1.36"}, BOTH, "kind", "because kind is here and docker 28.2.2 answers"),
        ({"ip_family": "dual"}, NOTHING, "embedded", "because kind is not on PATH"),
        ({"ip_family": "dual"}, BOTH, "kind", "because kind is here and docker 28.2.2 answers"),
        ({"cluster": "embedded"}, BOTH, "embedded", "as asked"),
        ({"cluster": "kind"}, NOTHING, "kind", "as asked"),
        ({"cluster": "external", "kubeconfig": FILE, "node_access": "agent"}, NOTHING, "external", "as asked"),
    ],
)
def test_the_provider_and_why(changes: dict[str, object], machine: Machine, provider: str, why: str) -> None:
    found = choice.choose(replace(ClusterOptions(), **changes), lambda: machine)

    assert (found.provider, found.why) == (provider, why)


@pytest.mark.parametrize("changes", [{"kubeconfig": FILE}, {"kube_proxy": FILE}, {"cluster": "embedded"}])
def test_the_machine_is_not_looked_at_where_the_options_decide(changes: dict[str, object]) -> None:
    def look() -> Machine:
        raise AssertionError("it was")

    assert choice.choose(replace(ClusterOptions(), **changes), look).provider


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cluster": "minikube"}, r"--cluster minikube is not known\n  next: use auto, embedded, kind or external"),
        (
            {"cluster": "kind", "kubeconfig": FILE},
            "--kubeconfig says nothing to --cluster kind: it belongs to ext",
        ),
        ({"cluster": "kind", "kube_proxy": FILE}, "--kube-proxy says nothing to --cluster kind"),
        ({"cluster": "kind", "node_program": FILE}, "--node-program says nothing to --cluster kind"),
        ({"no_cni": True}, "--no-cni without --node-program"),
        ({"no_kube_proxy": True, "proxy_mode": "nftables"}, "--proxy-mode nftables says nothing with --no-kube-proxy"),
        ({"cluster": "embedded", "node_image": "a/b"}, "--node-image says nothing to --cluster embedded"),
        ({"cluster": "kind", "image_tags": True}, "--image-tags says nothing to --cluster kind"),
        ({"cluster": "embedded", "node_access": "agent"}, "--node-access says nothing to --cluster embedded"),
        ({"cluster": "external"}, "--cluster external needs --kubeconfig"),
        ({"context": "there"}, "--context needs --kubeconfig"),
        ({"node_access": "ssh"}, r"--node-access ssh is not known\n  next: use none or agent"),
        ({"kube_proxy": FILE, "node_image": "a/b"}, "no provider takes --kube-proxy and --node-image together"),
        ({"kubeconfig": FILE, "kubernetes": "1.37"}, "no provider takes --kubeconfig and --kubernetes together"),
        ({"cluster": "external", "kubeconfig": FILE, "proxy_mode": "nftables"}, "it belongs to embedded or kind"),
        (
            {"cluster": "external", "kubeconfig": FILE, "ip_family": "dual"},
            "--ip-family says nothing to --cluster external: it belongs to embedded or kind\n  next: leave out --ip-f",
        ),
        ({"kubeconfig": FILE, "ip_family": "ipv6"}, "no provider takes --kubeconfig and --ip-family together"),
        ({"ip_family": "ipx"}, r"unknown IP family 'ipx'\n  next: use one of ipv4, ipv6, dual"),
        ({"kubernetes": "1.12"}, "Kubernetes '1.12' is not a supported version"),
        (
            {"cluster": "kind", "kubernetes": "1.37.9"},
            "--kubernetes 1.37.9: kind's image of 1.37 has Kubernetes",
        ),
        (
            {"node_image": "a/node:v1.36.1", "kubernetes": "1.37"},
            "--kubernetes 1.37: --node-image a/node:v1.36.1 has Kubernetes 1.36.1",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choice.check(replace(ClusterOptions(), **changes))


def test_a_proxy_mode_that_the_version_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = replace(versions.resolve("1.33"), proxy_modes=("iptables",))
    monkeypatch.setattr(choice.versions, "resolve", lambda _: old)

    with pytest.raises(UsageError, match=r"--proxy-mode nftables: kube-proxy 1\.33 has iptables"):
        choice.check(ClusterOptions(kubernetes="1.33", proxy_mode="nftables"))


def test_options_that_say_nothing_are_fine() -> None:
    choice.check(ClusterOptions())
    choice.check(ClusterOptions(kubernetes="1.33", proxy_mode="nftables", keep=True))


def test_without_kind_no_engine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.shutil, "which", lambda _: None)

    assert choice.look() == NOTHING


def test_an_engine_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise PreflightError("the docker engine does not answer: it is stopped", next_step="start it")

    monkeypatch.setattr(choice.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("session_affinity.clusters.kind.engine.detect", fail)

    assert choice.look() == Machine(no_engine="the docker engine does not answer: it is stopped", kind=True)
