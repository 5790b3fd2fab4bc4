"""An embedded cluster with a setting of kube-proxy, judged as a cluster that the suite did not make."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from ci.matrix.run import cached_minors
from session_affinity import versions
from session_affinity.clusters.embedded import binaries
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.dataplane.proxy_config import IPTABLES, ZONE_LABEL
from session_affinity.kube.api import Api
from session_affinity.kube.resources import NODES
from session_affinity.progress import quiet
from session_affinity.releases import release_of
from tests.defects.run_outcome import RunOutcome, read

if TYPE_CHECKING:
    from tests.settings.settings import Setting

ROOT: Final = Path(__file__).parents[2]
NAME: Final = "settings"
RUN_SECONDS: Final = 400
"""A run of all claims with its cluster, on a machine that is not slow."""
ZONES: Final = ("east", "east", "west", "west")
"""The zones of the nodes, so that claims about zones are judged."""


@dataclass(frozen=True)
class KubeProxy:
    """A kube-proxy of a minor release, such as 1.33."""

    release: str
    file: Path


@dataclass(frozen=True)
class SetUp:
    """A running cluster with a setting; ``older`` is the kube-proxy of its older node.

    ``directory`` is for the results.
    """

    setting: Setting
    mode: str
    older: KubeProxy | None
    cluster: clusters.EmbeddedCluster
    directory: Path
    deadline_scale: float

    def check(self, selection: str) -> RunOutcome:
        """Check claims as the user of a cluster would who has no other access than its kubeconfig."""
        results = self.directory / "results.xml"
        argv = (
            *(sys.executable, "-m", "pytest", "-m", selection, f"--junitxml={results}", "-p", "no:cacheprovider"),
            *("--cluster=external", f"--kubeconfig={self.cluster.kubeconfig}", "--node-access=agent", "--image-tags"),
            f"--deadline-scale={self.deadline_scale:g}",
        )
        seconds = RUN_SECONDS * self.deadline_scale
        completed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
        output = completed.stdout + completed.stderr
        assert results.exists(), output
        return read(results.read_text(), output)


def older_kube_proxy() -> KubeProxy | None:
    """Return the oldest kube-proxy in this user's cache; None where that has none older than the default."""
    supported = versions.load()
    minors = [minor for minor in cached_minors(supported) if release_of(minor) < release_of(supported.default.minor)]
    return _kube_proxy(min(minors, key=release_of)) if minors else None


def _kube_proxy(minor: str) -> KubeProxy:
    return KubeProxy(minor, binaries.ensure(versions.resolve(minor).release, quiet())["kube-proxy"])


def _one_older(setting: Setting, older: KubeProxy, directory: Path) -> Path:
    """Return a program that runs an older kube-proxy on a setting's older node, and the default on the others."""
    program = directory / "kube-proxy"
    default = _kube_proxy(versions.load().default.minor)
    program.write_text(
        f'#!/bin/sh\ncase $(hostname) in {NAME}-{setting.older}) exec {shlex.quote(str(older.file))} "$@" ;; esac\n'
        f'exec {shlex.quote(str(default.file))} "$@"\n'
    )
    program.chmod(0o755)
    return program


def start(setting: Setting, mode: str, directory: Path, *, deadline_scale: float = 1.0) -> SetUp:
    """Start a cluster with a setting, in a mode; its nodes have zones."""
    file = directory / "proxy.yaml"
    file.write_text(yaml.safe_dump(setting.configuration).replace("the other", setting.other(mode)))
    argv = (
        *(sys.executable, "-m", "session_affinity", "cluster", "up", f"--name={NAME}", f"--proxy-mode={mode}"),
        *(f"--proxy-config={file}", f"--deadline-scale={deadline_scale:g}"),
    )
    if setting.iptables and mode == IPTABLES:
        argv = (*argv, f"--iptables={setting.iptables}")
    older = older_kube_proxy() if setting.older else None
    if older:
        argv = (*argv, f"--kube-proxy={_one_older(setting, older, directory)}")
    completed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    cluster = clusters.find(NAME)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert cluster is not None
    api = Api(cluster.kubeconfig)
    for node, zone in zip(cluster.layout.nodes, ZONES, strict=True):
        change: dict[str, Any] = {"metadata": {"labels": {ZONE_LABEL: zone}}}
        api.patch(NODES, node.name, "", change)
    return SetUp(setting, mode, older, cluster, directory, deadline_scale)


def stop() -> None:
    """Take the cluster down."""
    clusters.down(NAME)
