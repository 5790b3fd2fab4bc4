"""Tests of kind's configuration: names, ranges, ports and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.clusters.addresses import RANGES
from session_affinity.clusters.embedded.configuration import MIN_SYNC_PERIOD_SECONDS, SYNC_PERIOD_SECONDS
from session_affinity.clusters.images import repository
from session_affinity.clusters.kind import configuration
from session_affinity.dataplane.proxy_config import duration_seconds
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_manifest_has_three_workers_and_the_default_ranges() -> None:
    config = configuration.render("myk8s", "some/node:v1.37.2", None)

    assert config["networking"]["podSubnet"] == "10.10.0.0/16"
    assert config["networking"]["serviceSubnet"] == "10.200.0.0/16"
    assert configuration.proxy_mode_of(config) == "iptables"
    assert configuration.node_names(config) == ("myk8s-control-plane", "myk8s-worker", "myk8s-worker2", "myk8s-worker3")


def test_render_sets_name_mode_and_image() -> None:
    config = configuration.render("other", "some/node:v1.37.2", "nftables")

    assert config["name"] == "other"
    assert configuration.proxy_mode_of(config) == "nftables"
    assert {node["image"] for node in config["nodes"]} == {"some/node:v1.37.2"}


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_kube_proxy_has_the_periods_of_an_embedded_cluster(mode: str) -> None:
    config = configuration.render("myk8s", "some/node:v1.37.2", mode)
    patches = {patch["kind"]: patch for patch in map(yaml.safe_load, config["kubeadmConfigPatches"])}
    periods = patches["KubeProxyConfiguration"][mode]

    assert duration_seconds(periods["minSyncPeriod"]) == MIN_SYNC_PERIOD_SECONDS
    assert duration_seconds(periods["syncPeriod"]) == SYNC_PERIOD_SECONDS


@pytest.mark.parametrize(
    ("ip_family", "pods", "services"),
    [
        ("ipv4", "10.10.0.0/16", "10.200.0.0/16"),
        ("ipv6", RANGES["IPv6"].pods, RANGES["IPv6"].services),
        ("dual", f"10.10.0.0/16,{RANGES['IPv6'].pods}", f"10.200.0.0/16,{RANGES['IPv6'].services}"),
    ],
)
def test_render_sets_the_ranges_of_an_ip_family(ip_family: str, pods: str, services: str) -> None:
    config = configuration.render("other", "some/node:v1.37.2", None, ip_family)

    assert configuration.ip_family_of(config) == config["networking"]["ipFamily"] == ip_family
    assert (config["networking"]["podSubnet"], config["networking"]["serviceSubnet"]) == (pods, services)


def test_the_default_ip_family_is_ipv4() -> None:
    config = configuration.render("other", "some/node:v1.37.2", None)

    assert configuration.ip_family_of(config) == "ipv4"
    assert config["networking"]["podSubnet"] == RANGES["IPv4"].pods


def test_kubeadm_uses_the_patches_of_a_directory_that_only_the_control_plane_has(tmp_path: Path) -> None:
    before = configuration.render("myk8s", "some/node:v1.37.2", None)
    before["nodes"][0]["extraMounts"] = [{"hostPath": "/a", "containerPath": "/b"}]

    config = configuration.with_patches(before, tmp_path)

    first, mount = config["nodes"][0]["extraMounts"]
    used = [
        patch for patch in map(yaml.safe_load, config["kubeadmConfigPatches"]) if patch["kind"] == "InitConfiguration"
    ]
    assert (first["hostPath"], mount["hostPath"], mount["readOnly"]) == ("/a", str(tmp_path), True)
    assert [patch["patches"]["directory"] for patch in used] == [mount["containerPath"]]
    assert config["nodes"][1:] == before["nodes"][1:]


def test_the_patches_change_how_often_the_control_plane_is_asked_whether_it_is_ready() -> None:
    """kubeadm knows what a file patches by the beginning of its name, and how by what follows the plus sign."""
    files = sorted(configuration.PATCHES.glob("*+strategic.yaml"))
    containers = {file.name: yaml.safe_load(file.read_text())["spec"]["containers"] for file in files}

    assert containers == {
        f"{name}+strategic.yaml": [{"name": name, "readinessProbe": {"periodSeconds": 10}}]
        for name in ("etcd", "kube-apiserver", "kube-scheduler")
    }


def test_an_invalid_manifest_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(configuration, "MANIFEST", tmp_path / "kind.yaml")
    (tmp_path / "kind.yaml").write_text("nodes: 3")

    with pytest.raises(SuiteError, match=r"kind\.yaml is not a configuration of a kind cluster"):
        configuration.render("myk8s", "image", None)


def test_several_control_planes_add_a_load_balancer() -> None:
    nodes = [{"role": "control-plane"}, {"role": "control-plane"}]

    assert configuration.node_names({"name": "a", "nodes": nodes}) == (
        "a-control-plane",
        "a-control-plane2",
        "a-external-load-balancer",
    )


def test_ports_lists_only_fixed_ports() -> None:
    nodes = [{"extraPortMappings": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]

    assert configuration.ports({"networking": {}, "nodes": [{}]}) == ()
    assert configuration.ports({"networking": {"apiServerPort": 6443}, "nodes": nodes}) == (
        ("127.0.0.1", 6443),
        ("0.0.0.0", 8080),
    )


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("kindest/node:v1.37.0@sha256:abc", "1.37.0"),
        ("localhost:5000/node:v1.36.4", "1.36.4"),
        ("kindest/node", None),
        ("kindest/node:latest", None),
    ],
)
def test_the_version_is_read_from_the_tag(image: str, version: str | None) -> None:
    assert configuration.version_in(image) == version


def test_sample_images_are_whoami_and_netshoot() -> None:
    assert tuple(map(repository, configuration.sample_images())) == ("traefik/whoami", "nicolaka/netshoot")
