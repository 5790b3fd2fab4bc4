"""What the command line says about the cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.clusters.choice import ClusterOptions, check
from session_affinity.clusters.external.provider import images_for
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

ONLY_BEHAVIOUR: Final = "--only-behaviour leaves the nodes alone: claims about them are not judged"
PROXY_MODES: Sequence[str] = ("iptables", "nftables")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose and shape the cluster."""
    group = parser.getgroup("session affinity", "the cluster that is checked")
    group.addoption(
        "--cluster",
        default="auto",
        metavar="auto|kind|embedded|external",
        help="where the cluster comes from (default: auto)",
    )
    group.addoption("--kubernetes", metavar="VERSION", help="the Kubernetes version, 1.37 or 1.37.0 (default: newest)")
    group.addoption("--proxy-mode", choices=PROXY_MODES, help="the mode of kube-proxy (default: iptables)")
    group.addoption(
        "--ip-family",
        choices=IP_FAMILIES,
        help=f"the addresses of nodes, pods and Services (default: {DEFAULT_IP_FAMILY})",
    )
    group.addoption("--kube-proxy", type=Path, metavar="PATH", help="a kube-proxy binary of your own to check")
    group.addoption("--node-image", metavar="IMAGE", help="the node image of a kind cluster (default: kind's own)")
    group.addoption("--keep-cluster", action="store_true", help="leave the cluster running; the next run finds it")
    group.addoption("--cluster-name", default="myk8s", metavar="NAME", help="the cluster's name (default: myk8s)")
    group.addoption(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="check the cluster that this file leads to; it is only read",
    )
    group.addoption("--context", metavar="NAME", help="the context of the kubeconfig (default: its current one)")
    group.addoption(
        "--node-access",
        default="none",
        metavar="none|agent",
        help="how to look at an external cluster's nodes: not, or by a privileged DaemonSet (default: none)",
    )
    group.addoption(
        "--only-behaviour",
        action="store_true",
        help="do not look at the nodes, whoever provides them: check what clients and users of the API see",
    )
    group.addoption("--image-registry", metavar="PREFIX", help="take the images from this mirror")
    group.addoption(
        "--image-tags",
        action="store_true",
        help="name the images by tag, for nodes or a mirror that have them under another digest",
    )
    group.addoption(
        "--evidence",
        choices=("normal", "none"),
        default="normal",
        help="what a claim leaves in the report beside its verdict: all that was seen, or nothing (default: normal)",
    )
    group.addoption("--list-images", action="store_true", help="print the images that a run would use, and exit")
    group.addoption(
        "--deadline-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="stretch every deadline by this factor on a slow machine (default: 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that contradict each other before anything starts."""
    try:
        check(cluster_options_of(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Print the images instead of running, when that is asked for."""
    if not config.getoption("--list-images"):
        return None
    options = cluster_options_of(config)
    try:
        sys.stdout.writelines(f"{image}\n" for image in images_for(options))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    return int(pytest.ExitCode.OK)


def cluster_options_of(config: pytest.Config) -> ClusterOptions:
    """Return what the command line says."""
    return ClusterOptions(
        cluster=config.getoption("--cluster"),
        kubernetes=config.getoption("--kubernetes"),
        proxy_mode=config.getoption("--proxy-mode"),
        ip_family=config.getoption("--ip-family"),
        kube_proxy=config.getoption("--kube-proxy"),
        keep=config.getoption("--keep-cluster"),
        name=config.getoption("--cluster-name"),
        deadline_scale=config.getoption("--deadline-scale"),
        node_image=config.getoption("--node-image"),
        kubeconfig=config.getoption("--kubeconfig"),
        context=config.getoption("--context"),
        node_access=config.getoption("--node-access"),
        image_registry=config.getoption("--image-registry"),
        image_tags=config.getoption("--image-tags"),
        failed=lambda: bool(getattr(config.pluginmanager.getplugin("session"), "testsfailed", 0)),
    )
