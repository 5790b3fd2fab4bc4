"""The options of a run: pytest and ``session-affinity check`` have the same ones, made from this one list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.clusters.choice import NODE_ACCESS, PROVIDERS
from session_affinity.clusters.options import IPTABLES_VARIANTS, ClusterOptions
from session_affinity.conformance.exit_codes import NODE_CLAIMS
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import UsageError
from session_affinity.kube.in_cluster import SERVICE_ACCOUNT
from session_affinity.shapes.arrays import COMPACT

if TYPE_CHECKING:
    from collections.abc import Callable

PROXY_MODES: Final = ("iptables", "nftables")
CLUSTER_NAME: Final = "myk8s"
"""The name of a cluster that is given none."""


@dataclass(frozen=True)
class OptionGroup:
    """A group of options in help: its name, and its heading."""

    name: str
    heading: str


CLUSTER_GROUP: Final = OptionGroup("session affinity: cluster", "the cluster that a run starts")
EXTERNAL_GROUP: Final = OptionGroup("session affinity: external cluster", "a cluster that already runs")
CLAIMS_GROUP: Final = OptionGroup("session affinity: claims", "the claims that are judged")
OUTPUT_GROUP: Final = OptionGroup("session affinity: output", "lists and reports")
REPORT_GROUP: Final = OptionGroup("session affinity: report", "the conformance report and the exit code")


@dataclass(frozen=True)
class RunOption:
    """An option.

    ``help`` names the default. ``choices`` are the only values it takes, any when empty. ``is_flag`` says that it takes
    none, ``multiple`` that it may be given several times. ``convert`` makes its value from the text: ``str``, ``int``,
    ``float`` or ``Path``.
    """

    name: str
    group: OptionGroup
    help: str
    default: Any = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    convert: Callable[[str], Any] = str
    is_flag: bool = False
    multiple: bool = False

    @property
    def parameter(self) -> str:
        """The name of its value in Python: ``proxy_mode`` of ``--proxy-mode``."""
        return self.name.removeprefix("--").replace("-", "_")


CLUSTER_OPTIONS: Final = (
    RunOption(
        "--kubeconfig",
        EXTERNAL_GROUP,
        "Judge the cluster of this kubeconfig, which is only read. The run creates one namespace there and removes it"
        " at the end, or uses that of --namespace. Default: none; no cluster is used without this option.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--context",
        EXTERNAL_GROUP,
        "The context of the kubeconfig. Default: its current context.",
        metavar="NAME",
    ),
    RunOption(
        "--in-cluster-credentials",
        EXTERNAL_GROUP,
        "Judge the cluster in whose pod this runs, with the token of the pod's ServiceAccount, instead of that of a"
        " kubeconfig. Default: off.",
        is_flag=True,
    ),
    RunOption(
        "--node-access",
        EXTERNAL_GROUP,
        "How the rules on the nodes are read: none skips the claims about them, agent runs a privileged DaemonSet in"
        " the run's namespace. Default: none.",
        default="none",
        choices=NODE_ACCESS,
    ),
    RunOption(
        "--image-registry",
        EXTERNAL_GROUP,
        "Pull the images of the run from this mirror. Default: the registries they are published in.",
        metavar="PREFIX",
    ),
    RunOption(
        "--image-tags",
        EXTERNAL_GROUP,
        "Name the images by tag, for a mirror whose digests differ. Default: by digest.",
        is_flag=True,
    ),
    RunOption(
        "--pull-secret",
        EXTERNAL_GROUP,
        "Pull the images with this Secret, which is copied into the namespace of the run unless it is there already."
        " May be given several times. Default: none.",
        metavar="[NAMESPACE/]NAME",
        multiple=True,
    ),
    RunOption(
        "--namespace",
        EXTERNAL_GROUP,
        "Work in this existing namespace; it stays, what the run creates in it is removed. Default: one made for the"
        " run.",
        metavar="NAME",
    ),
    RunOption(
        "--namespace-label",
        EXTERNAL_GROUP,
        "A label of the namespace that the run makes, as for a policy's exemption. May be given several times."
        " Default: none but the suite's own.",
        metavar="KEY=VALUE",
        multiple=True,
    ),
    RunOption(
        "--namespace-annotation",
        EXTERNAL_GROUP,
        "An annotation of the namespace that the run makes. May be given several times. Default: none but the suite's"
        " own.",
        metavar="KEY=VALUE",
        multiple=True,
    ),
    RunOption(
        "--agent-namespace",
        EXTERNAL_GROUP,
        "The existing namespace of the agents, which must admit privileged pods. Default: the namespace of the run.",
        metavar="NAME",
    ),
    RunOption(
        "--agent-image",
        EXTERNAL_GROUP,
        "The image of the agents; the suite's own has all that they need. Default: that of manifests/node-agent.yaml.",
        metavar="IMAGE",
    ),
    RunOption(
        "--nodes",
        EXTERNAL_GROUP,
        "Use and judge these nodes only: names, labels or `sample:50`, separated by commas; the report says what a"
        " sample can miss. Default: all nodes.",
        metavar="all|NAMES|LABEL=VALUE|sample:N",
    ),
    RunOption(
        "--node-selector",
        EXTERNAL_GROUP,
        "Use and judge only nodes with this label. May be given several times. Default: all nodes.",
        metavar="LABEL=VALUE",
        multiple=True,
    ),
    RunOption(
        "--toleration",
        EXTERNAL_GROUP,
        "Let the sample pods run on nodes with this taint, or with any taint for `all`; agents tolerate all taints. May"
        " be given several times. Default: none.",
        metavar="KEY[=VALUE][:EFFECT]",
        multiple=True,
    ),
    RunOption(
        "--allow-missing-nodes",
        EXTERNAL_GROUP,
        "Judge claims about every node on the others while at most this many nodes cannot be read; with more these"
        " claims are undetermined. Default: 0.",
        default=0,
        metavar="N",
        convert=int,
    ),
    RunOption(
        "--outside-client",
        EXTERNAL_GROUP,
        "A machine that is no node and no pod of the cluster and reaches its nodes, with curl: one that ssh reaches"
        " without a question, `local` for this one, or kubeconfig://FILE for a pod in another cluster, which the run"
        " makes and removes. What is promised to clients from outside is judged from there. Default: none; these"
        " claims are skipped.",
        metavar="ssh://USER@HOST",
    ),
    RunOption(
        "--cluster",
        CLUSTER_GROUP,
        "Where the cluster comes from: kind (containers), embedded (processes of this machine) or external (it already"
        " runs). Default: auto, which is external with --kubeconfig, else kind where kind and a container engine are"
        " available, else embedded.",
        default="auto",
        choices=("auto", *PROVIDERS),
    ),
    RunOption(
        "--kubernetes",
        CLUSTER_GROUP,
        "The Kubernetes version of a kind or embedded cluster, such as 1.37 or 1.37.0. Default: the newest known.",
        metavar="VERSION",
    ),
    RunOption(
        "--proxy-mode",
        CLUSTER_GROUP,
        "The mode of kube-proxy in a kind or embedded cluster. Default: iptables.",
        choices=PROXY_MODES,
    ),
    RunOption(
        "--ip-family",
        CLUSTER_GROUP,
        f"The IP family of nodes, pods and Services in a kind or embedded cluster. Default: {DEFAULT_IP_FAMILY}.",
        choices=tuple(IP_FAMILIES),
    ),
    RunOption(
        "--kube-proxy",
        CLUSTER_GROUP,
        "Run this kube-proxy binary in an embedded cluster. Default: the released one.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--no-kube-proxy",
        CLUSTER_GROUP,
        "Start the nodes of an embedded cluster without kube-proxy. Default: every node runs one.",
        is_flag=True,
    ),
    RunOption(
        "--no-cni",
        CLUSTER_GROUP,
        "Start the nodes of an embedded cluster without CNI configuration and without routes to each other's pods;"
        " --node-program provides both. Default: the suite's own.",
        is_flag=True,
    ),
    RunOption(
        "--node-program",
        CLUSTER_GROUP,
        "Run this program on every node of an embedded cluster, as root: the agent of your dataplane. A directory has"
        " two, control-plane and worker (docs/bring-your-own-dataplane.md). Default: none.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--proxy-config",
        CLUSTER_GROUP,
        "Merge the KubeProxyConfiguration in this file, and what it has for single nodes, over that of the kube-proxies"
        " of an embedded cluster. Default: the suite's own configuration.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--iptables",
        CLUSTER_GROUP,
        "The variant of iptables on the nodes of an embedded cluster, for kube-proxy in iptables mode. Default: legacy"
        " where this machine has it, which takes half the time, else nft.",
        choices=IPTABLES_VARIANTS,
    ),
    RunOption(
        "--node-image",
        CLUSTER_GROUP,
        "The node image of a kind cluster. Default: kind's image for the Kubernetes version.",
        metavar="IMAGE",
    ),
    RunOption(
        "--cluster-name",
        CLUSTER_GROUP,
        "The name of the kind or embedded cluster, so that several can run beside each other."
        f" Default: {CLUSTER_NAME}.",
        default=CLUSTER_NAME,
        metavar="NAME",
    ),
    RunOption(
        "--keep-cluster",
        CLUSTER_GROUP,
        "Keep the cluster at the end; the next run with the same --cluster-name uses it. Default: remove it.",
        is_flag=True,
    ),
)
CLAIM_OPTIONS: Final = (
    RunOption(
        "--only-behaviour",
        CLAIMS_GROUP,
        "Judge only claims about what clients and users of the API see, and do not read the nodes."
        " Default: judge every claim that the cluster allows.",
        is_flag=True,
    ),
    RunOption(
        "--deadline-scale",
        CLAIMS_GROUP,
        "Multiply every deadline by this factor, for a slow machine or cluster. Default: 1.",
        default=1.0,
        metavar="FACTOR",
        convert=float,
    ),
    RunOption(
        "--shapes",
        CLAIMS_GROUP,
        "The generated Services: compact, full, or a number, the seed of other ones as many as full. Default: compact.",
        default=COMPACT,
        metavar="ARRAY",
    ),
)
OUTPUT_OPTIONS: Final = (
    RunOption(
        "--evidence",
        OUTPUT_GROUP,
        "What the Allure results have beside verdicts: requests, rules and affinity entries, or nothing."
        " Default: normal.",
        default="normal",
        choices=("normal", "none"),
    ),
)
REPORT_OPTIONS: Final = (
    RunOption(
        "--report",
        REPORT_GROUP,
        "Write the conformance report: JSON for FILE.json, else YAML. Default: none.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--implementation",
        REPORT_GROUP,
        "YAML file that says whose dataplane the report is about. Default: none.",
        metavar="FILE",
        convert=Path,
    ),
    *(
        RunOption(
            f"--implementation-{name}",
            REPORT_GROUP,
            f"Of the dataplane in the report: {meaning}. Default: {default}.",
            default="",
            metavar="TEXT",
        )
        for name, meaning, default in (
            ("organization", "who makes it", "none"),
            ("project", "its name", "none"),
            ("url", "its home page", "none"),
            ("version", "its release, tag or commit, not a branch", "none"),
            ("mode", "its configuration, by a name of its own", "default"),
        )
    ),
    RunOption(
        "--differences",
        REPORT_GROUP,
        "YAML file of known differences, which do not fail the run. Default: none.",
        metavar="FILE",
        convert=Path,
    ),
    RunOption(
        "--require",
        REPORT_GROUP,
        "With node-claims a run without access to nodes ends with exit code 10. Default: nothing is required.",
        choices=(NODE_CLAIMS,),
        multiple=True,
    ),
)
OPTIONS: Final = (*CLUSTER_OPTIONS, *CLAIM_OPTIONS, *OUTPUT_OPTIONS, *REPORT_OPTIONS)


def cluster_options(value: Callable[[str], Any], failed: Callable[[], bool] | None = None) -> ClusterOptions:
    """Return what the options say about the cluster; ``value`` returns the value of the option of a name.

    Raises UsageError where two of them name different clusters.
    """
    kubeconfig = value("--kubeconfig")
    if value("--in-cluster-credentials"):
        if kubeconfig is not None or value("--context"):
            raise UsageError(
                "--in-cluster-credentials and --kubeconfig name different clusters", next_step="leave one of them out"
            )
        kubeconfig = SERVICE_ACCOUNT
    options = ClusterOptions(
        cluster=value("--cluster"),
        kubernetes=value("--kubernetes"),
        proxy_mode=value("--proxy-mode"),
        ip_family=value("--ip-family"),
        kube_proxy=value("--kube-proxy"),
        no_kube_proxy=value("--no-kube-proxy"),
        no_cni=value("--no-cni"),
        node_program=value("--node-program"),
        proxy_config=value("--proxy-config"),
        iptables=value("--iptables"),
        keep=value("--keep-cluster"),
        name=value("--cluster-name"),
        deadlines=DEFAULTS.scaled(value("--deadline-scale")),
        node_image=value("--node-image"),
        kubeconfig=kubeconfig,
        context=value("--context"),
        node_access=value("--node-access"),
        image_registry=value("--image-registry"),
        image_tags=value("--image-tags"),
        namespace=value("--namespace"),
        namespace_labels=tuple(value("--namespace-label") or ()),
        namespace_annotations=tuple(value("--namespace-annotation") or ()),
        agent_namespace=value("--agent-namespace"),
        agent_image=value("--agent-image"),
        nodes=value("--nodes"),
        node_selector=tuple(value("--node-selector") or ()),
        tolerations=tuple(value("--toleration") or ()),
        allow_missing_nodes=value("--allow-missing-nodes"),
        pull_secrets=tuple(value("--pull-secret") or ()),
        outside_client=value("--outside-client"),
    )
    return options if failed is None else replace(options, failed=failed)
