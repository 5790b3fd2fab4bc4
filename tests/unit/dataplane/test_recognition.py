"""Programs that serve Services, recognised by the objects that their installations leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from session_affinity.dataplane.recognition import ClusterObjects, Recognition, Serves, ServiceProgram, recognise


def daemon_set(image: str, *, wanted: int = 3, args: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Any:
    container = {
        "image": image,
        "args": list(args),
        "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
    }
    return {"spec": {"template": {"spec": {"containers": [container]}}}, "status": {"desiredNumberScheduled": wanted}}


def antrea(configuration: str) -> ClusterObjects:
    return ClusterObjects(
        {("kube-system", "antrea-agent"): daemon_set("antrea/antrea-agent-ubuntu:v2.4.0")},
        {"antrea-config": {"antrea-agent.conf": configuration}},
    )


def calico(custom: dict[str, Any], **env: str) -> ClusterObjects:
    node = daemon_set("quay.io/calico/node:v3.31.0", env=env)
    return ClusterObjects({("calico-system", "calico-node"): node}, custom=custom)


CILIUM = ClusterObjects(
    {("kube-system", "cilium"): daemon_set("quay.io/cilium/cilium:v1.20.2@sha256:0123")},
    {"cilium-config": {"kube-proxy-replacement": "true"}},
    api_groups=frozenset({"cilium.io"}),
    annotations=frozenset({"network.cilium.io/ipv4-cilium-host"}),
)
ROUTER = ("kube-system", "kube-router")


@pytest.mark.parametrize(
    ("objects", "title", "source"),
    [
        pytest.param(
            CILIUM,
            "Cilium v1.20.2 in place of kube-proxy",
            "DaemonSet kube-system/cilium, kube-proxy-replacement true in ConfigMap kube-system/cilium-config",
            id="cilium",
        ),
        pytest.param(
            replace(CILIUM, config_maps={"cilium-config": {"kube-proxy-replacement": "false"}}),
            "Cilium v1.20.2 beside kube-proxy",
            "DaemonSet kube-system/cilium, kube-proxy-replacement false in ConfigMap kube-system/cilium-config",
            id="cilium-beside",
        ),
        pytest.param(
            calico({"installations": {"spec": {"calicoNetwork": {"linuxDataplane": "BPF"}}}}),
            "Calico v3.31.0 in place of kube-proxy",
            "DaemonSet calico-system/calico-node, linuxDataplane BPF in Installation default",
            id="calico-operator",
        ),
        pytest.param(
            calico({"felixconfigurations": {"spec": {"bpfEnabled": True}}}),
            "Calico v3.31.0 in place of kube-proxy",
            "DaemonSet calico-system/calico-node, bpfEnabled true in FelixConfiguration default",
            id="calico-felix",
        ),
        pytest.param(
            calico({}, FELIX_BPFENABLED="true"),
            "Calico v3.31.0 in place of kube-proxy",
            "DaemonSet calico-system/calico-node, FELIX_BPFENABLED true",
            id="calico-environment",
        ),
        pytest.param(
            ClusterObjects(annotations=frozenset({"k8s.ovn.org/node-subnets"}), api_groups=frozenset({"k8s.ovn.org"})),
            "OVN-Kubernetes in place of kube-proxy",
            "annotations k8s.ovn.org/* of nodes",
            id="ovn-kubernetes",
        ),
        pytest.param(
            antrea("antreaProxy:\n  proxyAll: true\n"),
            "Antrea v2.4.0 in place of kube-proxy",
            "DaemonSet kube-system/antrea-agent, proxyAll true in ConfigMap kube-system/antrea-config",
            id="antrea-all",
        ),
        pytest.param(
            antrea("antreaProxy: {}\n"),
            "Antrea v2.4.0 beside kube-proxy",
            "DaemonSet kube-system/antrea-agent, proxyAll false in ConfigMap kube-system/antrea-config",
            id="antrea-default",
        ),
        pytest.param(
            ClusterObjects({ROUTER: daemon_set("docker.io/cloudnativelabs/kube-router:v2.6.1")}),
            "kube-router v2.6.1 in place of kube-proxy",
            "DaemonSet kube-system/kube-router, --run-service-proxy",
            id="kube-router",
        ),
    ],
)
def test_what_serves_services_is_named_with_its_setting(objects: ClusterObjects, title: str, source: str) -> None:
    (program,) = recognise(objects).others

    assert (program.title, program.source) == (title, source)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(
            calico({"installations": {"spec": {"calicoNetwork": {"linuxDataplane": "Iptables"}}}}), id="calico"
        ),
        pytest.param(calico({"felixconfigurations": {"spec": {}}}), id="calico-default"),
        pytest.param(antrea("featureGates:\n  AntreaProxy: false\n"), id="antrea-without-proxy"),
        pytest.param(
            ClusterObjects({ROUTER: daemon_set("kube-router:v2", args=("--run-service-proxy=false",))}),
            id="kube-router",
        ),
    ],
)
def test_a_program_that_leaves_services_to_kube_proxy_is_named_and_is_none_of_them(objects: ClusterObjects) -> None:
    recognition = recognise(objects)

    assert recognition.others == ()
    assert "it leaves Services to kube-proxy" in recognition.facts()["dataplane"]
    assert "served by" not in recognition.facts()


def test_without_its_setting_it_is_not_known_what_a_program_serves() -> None:
    """A right that is missing costs the name of the mode: nothing is then taken for kube-proxy's."""
    recognition = recognise(replace(CILIUM, config_maps={}, unread=("ConfigMaps (403)",)))

    (program,) = recognition.others
    assert program.serves is Serves.UNKNOWN
    assert recognition.replacing is None
    assert recognition.facts()["dataplane not read"] == "ConfigMaps (403)"


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(ClusterObjects(), id="nothing"),
        pytest.param(ClusterObjects(api_groups=frozenset({"cilium.io"})), id="custom-resources-that-were-left"),
        pytest.param(
            ClusterObjects({("kube-system", "cilium"): daemon_set("cilium:v1", wanted=0)}), id="wanted-on-no-node"
        ),
    ],
)
def test_what_is_left_of_a_program_does_not_show_that_it_runs(objects: ClusterObjects) -> None:
    assert recognise(objects) == Recognition()


def test_kube_proxy_is_named_and_is_no_other_program() -> None:
    image = "registry.k8s.io/kube-proxy:v1.37.2"
    recognition = recognise(ClusterObjects({("kube-system", "kube-proxy"): daemon_set(image)}))

    assert recognition.programs == (ServiceProgram("kube-proxy", "v1.37.2", None, "DaemonSet kube-system/kube-proxy"),)
    assert recognition.others == ()


def test_an_image_named_by_digest_has_no_version() -> None:
    image = "registry:5000/kube-proxy@sha256:" + 64 * "0"

    (program,) = recognise(ClusterObjects({("kube-system", "kube-proxy"): daemon_set(image)})).programs
    assert program.version == ""
