"""The programs that serve a cluster's Services, as the objects of its API show them.

Pure: what was read goes in, the programs found come out. Names of objects, settings and annotations are those that each
project documents or installs; docs/dataplanes.md has the sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

KUBE_PROXY: Final = "kube-proxy"
CILIUM: Final = "Cilium"
CALICO: Final = "Calico"
OVN_KUBERNETES: Final = "OVN-Kubernetes"
ANTREA: Final = "Antrea"
KUBE_ROUTER: Final = "kube-router"

DAEMON_SETS: Final[Mapping[tuple[str, str], str]] = {
    ("kube-system", "kube-proxy"): KUBE_PROXY,
    ("kube-system", "cilium"): CILIUM,
    ("kube-system", "calico-node"): CALICO,
    ("calico-system", "calico-node"): CALICO,
    ("ovn-kubernetes", "ovnkube-node"): OVN_KUBERNETES,
    ("openshift-ovn-kubernetes", "ovnkube-node"): OVN_KUBERNETES,
    ("kube-system", "antrea-agent"): ANTREA,
    ("kube-system", "kube-router"): KUBE_ROUTER,
}
"""The DaemonSets, as namespace and name, of each program."""
CONFIG_MAPS: Final = ("cilium-config", "antrea-config")
"""The ConfigMaps in kube-system with settings of these programs, beside kube-proxy's own."""
FELIX_CONFIGURATION: Final = "felixconfigurations"
INSTALLATION: Final = "installations"
_API_GROUPS: Final = {
    "cilium.io": CILIUM,
    "crd.projectcalico.org": CALICO,
    "k8s.ovn.org": OVN_KUBERNETES,
    "crd.antrea.io": ANTREA,
}
"""API groups of the custom resources of these programs."""
_NODE_ANNOTATIONS: Final = {
    "network.cilium.io/": CILIUM,
    "projectcalico.org/": CALICO,
    "k8s.ovn.org/": OVN_KUBERNETES,
    "node.antrea.io/": ANTREA,
}
"""Beginnings of the annotations that these programs write on nodes."""
_TAG: Final = re.compile(r"[^/@:]*:(?P<tag>[\w.-]+)(?:@.*)?")


class Serves(StrEnum):
    """What a program does with the traffic to Services."""

    ALL = "in place of kube-proxy"
    SOME = "beside kube-proxy"
    NONE = "it leaves Services to kube-proxy"
    UNKNOWN = "what it does with Services is not known"


@dataclass(frozen=True)
class ServiceProgram:
    """A program that was found.

    ``version`` is its image's tag, empty where that is not known. ``serves`` is None for kube-proxy itself. ``source``
    says where the program and its setting were read.
    """

    name: str
    version: str
    serves: Serves | None
    source: str

    @property
    def title(self) -> str:
        """Name and version, and what it does with traffic to Services."""
        name = f"{self.name} {self.version}".strip()
        return f"{name} {self.serves}" if self.serves in (Serves.ALL, Serves.SOME) else name

    def __str__(self) -> str:
        says = f"; {self.serves}" if self.serves in (Serves.NONE, Serves.UNKNOWN) else ""
        return f"{self.title} ({self.source}{says})"


@dataclass(frozen=True)
class ClusterObjects:
    """What was read of a cluster; what may not be read, or is not there, is left out.

    ``daemon_sets`` by namespace and name, ``config_maps`` by name, ``custom`` by the plural of their kind.
    ``annotations`` are the names of the annotations of all nodes. ``unread`` says in words what could not be read.
    """

    daemon_sets: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    custom: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    api_groups: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """The programs that were recognised, and what could not be read: a right that is missing costs a name."""

    programs: tuple[ServiceProgram, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def others(self) -> tuple[ServiceProgram, ...]:
        """The programs other than kube-proxy that serve Services, or may."""
        return tuple(
            program for program in self.programs if program.name != KUBE_PROXY and program.serves is not Serves.NONE
        )

    @property
    def replacing(self) -> ServiceProgram | None:
        """The program that serves all Services in place of kube-proxy; None where none is known to."""
        return next((program for program in self.others if program.serves is Serves.ALL), None)

    def facts(self) -> dict[str, str]:
        """Return what was recognised in words, by name, for display."""
        shown = {
            "served by": ", ".join(program.title for program in self.others),
            "dataplane": "; ".join(map(str, self.programs)),
            "dataplane not read": ", ".join(self.unread),
        }
        return {name: text for name, text in shown.items() if text}


def recognise(objects: ClusterObjects) -> Recognition:
    """Return the programs that the objects of a cluster show, kube-proxy last."""
    names = dict.fromkeys((*DAEMON_SETS.values(), *_API_GROUPS.values()))
    found = [program for name in names if name != KUBE_PROXY for program in _find(name, objects)]
    return Recognition((*found, *_find(KUBE_PROXY, objects)), objects.unread)


def _find(name: str, objects: ClusterObjects) -> Iterator[ServiceProgram]:
    """Yield a program if the objects show it; at most one."""
    # A DaemonSet that is wanted on no node is switched off, as kube-proxy's is where another program replaces it.
    running = {
        place: found
        for place, found in objects.daemon_sets.items()
        if DAEMON_SETS.get(place) == name and _is_wanted(found)
    }
    if name == KUBE_PROXY:
        for place, daemon_set in running.items():
            yield ServiceProgram(name, _version(daemon_set), None, f"DaemonSet {'/'.join(place)}")
        return
    # Custom resources outlive the program that brought them: alone they show that it was there.
    marks = [prefix for prefix, owner in _NODE_ANNOTATIONS.items() if owner == name and _has(objects, prefix)]
    groups = [group for group, owner in _API_GROUPS.items() if owner == name and group in objects.api_groups]
    if not running and not (marks and (groups or not objects.api_groups)):
        return
    serves, setting = _SERVES[name](objects, list(running.values()))
    where = [f"DaemonSet {'/'.join(place)}" for place in running] or [f"annotations {mark}* of nodes" for mark in marks]
    version = next((_version(found) for found in running.values()), "")
    yield ServiceProgram(name, version, serves, ", ".join(filter(None, (*where, setting))))


def _is_wanted(daemon_set: Mapping[str, Any]) -> bool:
    return bool((daemon_set.get("status") or {}).get("desiredNumberScheduled"))


def _has(objects: ClusterObjects, prefix: str) -> bool:
    return any(annotation.startswith(prefix) for annotation in objects.annotations)


def _cilium(objects: ClusterObjects, _: Iterable[Mapping[str, Any]]) -> tuple[Serves, str]:
    """Whether Cilium replaces kube-proxy; without that it still balances what pods send to cluster IPs."""
    settings = objects.config_maps.get("cilium-config")
    if settings is None:
        return Serves.UNKNOWN, ""
    value = str(settings.get("kube-proxy-replacement", "false")).lower()
    return (
        Serves.ALL if value in ("true", "strict") else Serves.SOME,
        f"kube-proxy-replacement {value} in ConfigMap kube-system/cilium-config",
    )


def _calico(objects: ClusterObjects, running: list[Mapping[str, Any]]) -> tuple[Serves, str]:
    """Whether Calico's eBPF dataplane is on, which serves Services; its others leave them to kube-proxy."""
    environment = {entry["name"]: entry.get("value", "") for found in running for entry in _environment(found)}
    installation = (objects.custom.get(INSTALLATION) or {}).get("spec") or {}
    felix = (objects.custom.get(FELIX_CONFIGURATION) or {}).get("spec") or {}
    if linux := (installation.get("calicoNetwork") or {}).get("linuxDataplane"):
        return Serves.ALL if linux == "BPF" else Serves.NONE, f"linuxDataplane {linux} in Installation default"
    if value := environment.get("FELIX_BPFENABLED"):
        return Serves.ALL if value.lower() == "true" else Serves.NONE, f"FELIX_BPFENABLED {value}"
    if FELIX_CONFIGURATION in objects.custom:
        enabled = bool(felix.get("bpfEnabled"))
        setting = f"bpfEnabled {str(enabled).lower()} in FelixConfiguration default"
        return Serves.ALL if enabled else Serves.NONE, setting
    return Serves.UNKNOWN, ""


def _ovn_kubernetes(_: ClusterObjects, __: Iterable[Mapping[str, Any]]) -> tuple[Serves, str]:
    return Serves.ALL, ""


def _antrea(objects: ClusterObjects, _: Iterable[Mapping[str, Any]]) -> tuple[Serves, str]:
    """Whether AntreaProxy serves the traffic of pods only, which is its default, or all."""
    stored = objects.config_maps.get("antrea-config")
    if stored is None:
        return Serves.UNKNOWN, ""
    try:
        settings = yaml.safe_load(stored.get("antrea-agent.conf") or "") or {}
    except yaml.YAMLError:
        return Serves.UNKNOWN, ""
    proxy = settings.get("antreaProxy") or {}
    gates = settings.get("featureGates") or {}
    where = "in ConfigMap kube-system/antrea-config"
    if proxy.get("enable") is False or gates.get("AntreaProxy") is False:
        return Serves.NONE, f"AntreaProxy disabled {where}"
    proxies_all = bool(proxy.get("proxyAll"))
    return Serves.ALL if proxies_all else Serves.SOME, f"proxyAll {str(proxies_all).lower()} {where}"


def _kube_router(_: ClusterObjects, running: list[Mapping[str, Any]]) -> tuple[Serves, str]:
    """Whether kube-router runs its service proxy, which it does by default."""
    arguments = [word for found in running for container in _containers(found) for word in _words(container)]
    flag = next((word for word in arguments if word.startswith("--run-service-proxy")), "--run-service-proxy")
    return Serves.NONE if flag.endswith("=false") else Serves.ALL, flag


_SERVES: Final[Mapping[str, Callable[[ClusterObjects, list[Mapping[str, Any]]], tuple[Serves, str]]]] = {
    CILIUM: _cilium,
    CALICO: _calico,
    OVN_KUBERNETES: _ovn_kubernetes,
    ANTREA: _antrea,
    KUBE_ROUTER: _kube_router,
}


def _containers(daemon_set: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    containers: list[Mapping[str, Any]] = daemon_set["spec"]["template"]["spec"]["containers"]
    return containers


def _environment(daemon_set: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for container in _containers(daemon_set):
        yield from container.get("env") or ()


def _words(container: Mapping[str, Any]) -> list[str]:
    return [str(word) for name in ("command", "args") for word in container.get(name) or ()]


def _version(daemon_set: Mapping[str, Any]) -> str:
    """Return the tag of the first container's image; empty for one that is named by digest alone."""
    found = _TAG.fullmatch(str(_containers(daemon_set)[0]["image"]).rpartition("/")[2])
    return found["tag"] if found else ""
