"""The configuration of a cluster's programs in each IP family."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml
from cryptography import x509

from session_affinity.clusters.addresses import IP_FAMILIES, RANGES
from session_affinity.clusters.embedded.configuration import (
    MIN_SYNC_PERIOD_SECONDS,
    SYNC_PERIOD_SECONDS,
    processes_of,
    read_kube_proxy,
    write_configuration,
)
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.state import STATE_VARIABLE, StateDirectory
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY, ProxyConfig
from session_affinity.errors import ClusterError

PROGRAMS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd",
    "ctr", "runc", "ptp",
)  # fmt: skip


@dataclass(frozen=True)
class WrittenConfiguration:
    """The configuration of a cluster on disk."""

    layout: Layout
    state: StateDirectory

    def options(self, program: str) -> dict[str, str]:
        """Return the command line options of a program of the control plane, by name."""
        processes = processes_of(self.layout, self.layout.control_plane, self.state)
        argv = next(process.argv for process in processes if process.name == program)
        return dict(word.lstrip("-").split("=", 1) for word in argv if "=" in word)

    def file(self, name: str) -> dict[str, Any]:
        """Return a configuration file of the first worker."""
        content: dict[str, Any] = json.loads((self.state.node(self.layout.nodes[1].name) / name).read_text())
        return content

    def certificate_addresses(self, name: str) -> set[str]:
        """Return the IP addresses in a certificate's subject alternative names."""
        certificate = x509.load_pem_x509_certificate((self.state.pki / f"{name}.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {str(address) for address in names.get_values_for_type(x509.IPAddress)}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WrittenConfiguration]:
    """The configuration of a cluster of each ``--ip-family``, written once because keys and certificates take time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        return {ip_family: _write(ip_family) for ip_family in IP_FAMILIES}


def _write(ip_family: str) -> WrittenConfiguration:
    programs = {name: f"/x/{name}" for name in PROGRAMS}
    nodes = node_layouts(ip_family, 1, ip_family)
    layout = Layout(ip_family, "1.37.2", "iptables", programs, "images.tar", nodes, ip_family=ip_family)
    state = StateDirectory(ip_family)
    state.create(tuple(node.name for node in nodes))
    write_configuration(layout, state, 6443)
    return WrittenConfiguration(layout, state)


@pytest.fixture
def written(request: pytest.FixtureRequest, clusters: dict[str, WrittenConfiguration]) -> WrittenConfiguration:
    """The configuration of the cluster with the test's ``--ip-family``."""
    return clusters[str(request.param)]


@pytest.mark.parametrize(
    ("written", "pods", "services"),
    [
        ("ipv4", "10.10.0.0/16", "10.200.0.0/16"),
        ("ipv6", RANGES["IPv6"].pods, RANGES["IPv6"].services),
        ("dual", f"10.10.0.0/16,{RANGES['IPv6'].pods}", f"10.200.0.0/16,{RANGES['IPv6'].services}"),
    ],
    indirect=["written"],
)
def test_programs_are_configured_with_the_ranges_of_all_families(
    written: WrittenConfiguration, pods: str, services: str
) -> None:
    assert written.options("kube-apiserver")["service-cluster-ip-range"] == services
    assert written.options("kube-controller-manager")["cluster-cidr"] == pods
    assert written.file("kube-proxy.yaml")["clusterCIDR"] == pods


@pytest.mark.parametrize("written", ["ipv4"], indirect=True)
def test_endpoints_are_left_out_where_kube_proxy_is_the_only_dataplane(written: WrittenConfiguration) -> None:
    layout = written.layout
    programs = dict.fromkeys(("control-plane", "worker"), "/x/proxy")
    others = replace(layout, node_programs=programs), replace(layout, proxy_mode=NO_KUBE_PROXY)

    assert written.options("kube-controller-manager")["controllers"].startswith("*,-endpoints-controller,")
    for other in others:
        assert "controllers" not in WrittenConfiguration(other, written.state).options("kube-controller-manager")


@pytest.mark.parametrize("written", ["dual"], indirect=True)
def test_the_settings_of_kube_proxy_are_read_from_the_file_of_its_node(written: WrittenConfiguration) -> None:
    node = written.layout.nodes[1]
    config = ProxyConfig.from_configuration(read_kube_proxy(written.state, node.name))

    assert config == ProxyConfig(
        "iptables",
        written.layout.pod_range,
        bind_address=node.address,
        sync_period=float(SYNC_PERIOD_SECONDS),
        min_sync_period=MIN_SYNC_PERIOD_SECONDS,
    )
    with pytest.raises(ClusterError, match="elsewhere: the configuration of kube-proxy cannot be read"):
        read_kube_proxy(written.state, "elsewhere")


@pytest.mark.parametrize("written", ["ipv4", "ipv6", "dual"], indirect=True)
def test_pods_get_an_address_and_a_default_route_in_each_family(written: WrittenConfiguration) -> None:
    addresses = written.file("cni/10-pods.conflist")["plugins"][0]["ipam"]
    node = written.layout.nodes[1]
    versions = [ipaddress.ip_network(pods).version for pods in node.pod_cidrs]

    assert [ranges[0]["subnet"] for ranges in addresses["ranges"]] == list(node.pod_cidrs)
    assert [ipaddress.ip_network(route["dst"]).version for route in addresses["routes"]] == versions
    assert all(ipaddress.ip_network(route["dst"]).prefixlen == 0 for route in addresses["routes"])


@pytest.mark.parametrize("written", ["ipv4", "ipv6", "dual"], indirect=True)
def test_a_node_has_an_address_of_each_family(written: WrittenConfiguration) -> None:
    node = written.layout.control_plane

    assert written.options("kubelet")["node-ip"] == ",".join(node.addresses)
    assert written.options("kube-apiserver")["advertise-address"] == node.addresses[0]


@pytest.mark.parametrize("written", ["ipv4", "ipv6", "dual"], indirect=True)
def test_certificates_are_valid_for_every_address(written: WrittenConfiguration) -> None:
    control_plane, worker = written.layout.nodes
    api_service = {ranges.service_address(1) for ranges in map(RANGES.__getitem__, _families(written.layout))}

    assert written.certificate_addresses("apiserver") == {"127.0.0.1", *control_plane.addresses, *api_service}
    assert written.certificate_addresses(f"kubelet-{worker.name}") == set(worker.addresses)


@pytest.mark.parametrize(
    ("written", "host"),
    [("ipv4", "172.30.0.2"), ("ipv6", f"[{RANGES['IPv6'].node_address(0)}]"), ("dual", "172.30.0.2")],
    indirect=["written"],
)
def test_the_api_server_is_reached_at_its_primary_address(written: WrittenConfiguration, host: str) -> None:
    kubeconfig = yaml.safe_load((written.state.node(written.layout.nodes[1].name) / "kubelet.kubeconfig").read_text())
    processes = processes_of(written.layout, written.layout.nodes[1], written.state)
    gates = {gate.target for process in processes for gate in process.after if gate.kind == "ready"}

    assert kubeconfig["clusters"][0]["cluster"]["server"] == f"https://{host}:6443"
    assert gates == {f"{host}:6443"}


def _families(layout: Layout) -> list[Any]:
    return ["IPv4" if ":" not in address else "IPv6" for address in layout.control_plane.addresses]
