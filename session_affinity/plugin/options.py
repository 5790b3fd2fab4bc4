"""The command-line options of the suite, and the cluster they describe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.clusters.choice import check
from session_affinity.clusters.external.provider import images_for
from session_affinity.clusters.options import ClusterOptions
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

ONLY_BEHAVIOUR: Final = "--only-behaviour does not read the nodes: claims about them cannot be judged"
PROXY_MODES: Sequence[str] = ("iptables", "nftables")
CLUSTER_GROUP: Final = ("session affinity: cluster", "session affinity: the cluster that a run starts")
EXTERNAL_GROUP: Final = ("session affinity: external cluster", "session affinity: a cluster that already runs")
CLAIMS_GROUP: Final = ("session affinity: claims", "session affinity: the claims that are judged")
OUTPUT_GROUP: Final = ("session affinity: output", "session affinity: lists and reports")
"""The groups of options in ``pytest --help``, each with its name and its heading."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the cluster, of what is judged, and of the output."""
    _add_cluster_options(parser.getgroup(*CLUSTER_GROUP))
    _add_external_options(parser.getgroup(*EXTERNAL_GROUP))
    _add_claim_options(parser.getgroup(*CLAIMS_GROUP))
    _add_output_options(parser.getgroup(*OUTPUT_GROUP))


def _add_cluster_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--cluster",
        default="auto",
        metavar="auto|kind|embedded|external",
        help="Where the cluster comes from: kind (containers), embedded (processes of this machine) or external (it"
        " already runs). Default: auto, which is external with --kubeconfig, else kind where kind and a container"
        " engine are available, else embedded.",
    )
    group.addoption(
        "--kubernetes",
        metavar="VERSION",
        help="The Kubernetes version of a kind or embedded cluster, such as 1.37 or 1.37.0. Default: the newest known.",
    )
    group.addoption(
        "--proxy-mode",
        choices=PROXY_MODES,
        help="The mode of kube-proxy in a kind or embedded cluster. Default: iptables.",
    )
    group.addoption(
        "--ip-family",
        choices=IP_FAMILIES,
        help=f"The IP family of nodes, pods and Services in a kind or embedded cluster. Default: {DEFAULT_IP_FAMILY}.",
    )
    group.addoption(
        "--kube-proxy",
        type=Path,
        metavar="FILE",
        help="Run this kube-proxy binary in an embedded cluster. Default: the released one.",
    )
    group.addoption(
        "--node-image",
        metavar="IMAGE",
        help="The node image of a kind cluster. Default: kind's image for the Kubernetes version.",
    )
    group.addoption(
        "--cluster-name",
        default="myk8s",
        metavar="NAME",
        help="The name of the kind or embedded cluster, so that several can run beside each other. Default: myk8s.",
    )
    group.addoption(
        "--keep-cluster",
        action="store_true",
        help="Keep the cluster at the end; the next run with the same --cluster-name uses it. Default: remove it.",
    )


def _add_external_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="Judge the cluster of this kubeconfig, which is only read. The run creates one namespace there and removes"
        " it at the end. Default: none; no cluster is used without this option.",
    )
    group.addoption(
        "--context",
        metavar="NAME",
        help="The context of the kubeconfig. Default: its current context.",
    )
    group.addoption(
        "--node-access",
        default="none",
        metavar="none|agent",
        help="How the rules on the nodes are read: none skips the claims about them, agent runs a privileged DaemonSet"
        " in the run's namespace. Default: none.",
    )
    group.addoption(
        "--image-registry",
        metavar="PREFIX",
        help="Pull the images of the run from this mirror. Default: the registries they are published in.",
    )
    group.addoption(
        "--image-tags",
        action="store_true",
        help="Name the images by tag, for a mirror whose digests differ. Default: by digest.",
    )


def _add_claim_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--only-behaviour",
        action="store_true",
        help="Judge only claims about what clients and users of the API see, and do not read the nodes."
        " Default: judge every claim that the cluster allows. Choose claims by id or subject with -m, as in -m C10.",
    )
    group.addoption(
        "--deadline-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="Multiply every deadline by this factor, for a slow machine or cluster. Default: 1.",
    )


def _add_output_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--evidence",
        choices=("normal", "none"),
        default="normal",
        help="What the Allure results have beside verdicts: requests, rules and affinity entries, or nothing."
        " Default: normal.",
    )
    group.addoption("--list-images", action="store_true", help="Print the images that a run would use, and exit.")


def pytest_configure(config: pytest.Config) -> None:
    """Reject options that contradict each other before anything starts."""
    try:
        check(cluster_options_of(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With ``--list-images``, print the images instead of running."""
    if not config.getoption("--list-images"):
        return None
    options = cluster_options_of(config)
    try:
        sys.stdout.writelines(f"{image}\n" for image in images_for(options))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    return int(pytest.ExitCode.OK)


def cluster_options_of(config: pytest.Config) -> ClusterOptions:
    """Return the options of the command line about the cluster."""
    return ClusterOptions(
        cluster=config.getoption("--cluster"),
        kubernetes=config.getoption("--kubernetes"),
        proxy_mode=config.getoption("--proxy-mode"),
        ip_family=config.getoption("--ip-family"),
        kube_proxy=config.getoption("--kube-proxy"),
        keep=config.getoption("--keep-cluster"),
        name=config.getoption("--cluster-name"),
        deadlines=DEFAULTS.scaled(config.getoption("--deadline-scale")),
        node_image=config.getoption("--node-image"),
        kubeconfig=config.getoption("--kubeconfig"),
        context=config.getoption("--context"),
        node_access=config.getoption("--node-access"),
        image_registry=config.getoption("--image-registry"),
        image_tags=config.getoption("--image-tags"),
        failed=lambda: bool(getattr(config.pluginmanager.getplugin("session"), "testsfailed", 0)),
    )
