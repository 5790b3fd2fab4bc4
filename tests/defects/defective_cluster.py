"""The cluster that defects are injected into, and runs of the suite on it, as a user would start them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.cluster_objects.services import ServiceRequest, Services, manifest
from session_affinity.clusters.embedded import binaries
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.process import PATH
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.deadlines import DEFAULTS
from session_affinity.kube.api import Api
from session_affinity.kube.resources import PODS
from session_affinity.nodes.nodes import Nodes
from session_affinity.progress import quiet
from session_affinity.testbed.testbed import Testbed
from session_affinity.traffic.answers import target
from session_affinity.traffic.client import client_in
from session_affinity.waiting import wait_until
from tests.defects.defect import Place, Shape
from tests.defects.run_outcome import RunOutcome, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.kube.reply import Reply

ROOT = Path(__file__).parents[2]
NAME = f"defects-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
"""The cluster's name: it differs between checkouts; a leftover of a killed run of this checkout is replaced."""
SAMPLE_PODS = ("webpod1", "webpod2", "webpod3", "net-pod")
PROBE = "affinity-defect-probe"
"""The name of a Service that a changed API treats differently, which shows that the change is in effect."""
CLAIM_SECONDS = 120
RUN_SECONDS = 280
"""Time limits of one claim and of one run, on a machine that is not slow."""
_DEADLINE_SECONDS = 60.0
_ONLY_BEHAVIOUR = "--only-behaviour"

_KUBE_PROXY = """\
#!/bin/sh
config={directory}/configs/$(hostname).yaml
[ ! -s "$config" ] || set -- --config="$config"
PATH={directory}/bin:$PATH exec {kube_proxy} "$@"
"""
# kube-proxy also lists rules with nft; only what it writes is read from standard input and filtered.
_PROGRAM = """\
#!/bin/sh
filter={directory}/filters/$(hostname).{program}
case "{program} $*" in *restore*|*"-f -"*) ;; *) exec {real} "$@" ;; esac
if [ -s "$filter" ]; then sed -E -f "$filter" | exec {real} "$@"; else exec {real} "$@"; fi
"""
PROGRAMS = ("iptables-restore", "ip6tables-restore", "nft")


@dataclass(frozen=True)
class DefectiveCluster:
    """An embedded cluster whose kube-proxy writes its rules through filters, which defects use.

    ``directory`` has wrappers of the programs with which kube-proxy writes rules, and the filters: sed scripts.
    """

    cluster: clusters.EmbeddedCluster
    shape: Shape
    directory: Path
    deadline_scale: float = 1.0

    @property
    def nodes(self) -> dict[str, str]:
        """The names of the nodes by place."""
        return {place: self.node(place) for place in Place}

    def node(self, place: Place) -> str:
        """Return the name of a node."""
        return f"{self.cluster.name}-{place}"

    def filter(self, place: Place, program: str) -> Path:
        """Return the file of the sed script that filters what a node's kube-proxy writes with a program."""
        assert program in PROGRAMS, program
        return self.directory / "filters" / f"{self.node(place)}.{program}"

    def configuration(self, place: Place) -> Path:
        """Return the file of the configuration that a node's kube-proxy prefers to its own; it need not exist."""
        return self.directory / "configs" / f"{self.node(place)}.yaml"

    def restart_kube_proxy(self, place: Place) -> None:
        """Kill a node's kube-proxy and wait until another is healthy."""
        node, seconds = self.cluster.nodes[self.node(place)], _DEADLINE_SECONDS * self.deadline_scale
        node.run(("pkill", "-KILL", "-x", "kube-proxy"))
        # The node's first process restarts what has ended when it gets the signal.
        wait_until(
            lambda: node.run(("pgrep", "-x", "kube-proxy")).returncode == 1,
            seconds,
            what=f"kube-proxy on {self.node(place)} to end",
        )
        node.run(self.cluster.kube_proxy_start).check()
        healthz = ("curl", "-sf", "http://127.0.0.1:10249/healthz")
        wait_until(
            lambda: node.run(healthz).returncode == 0,
            seconds,
            what=f"kube-proxy on {self.node(place)} to start",
            pause=0.2,
        )

    def argv(self, place: Place, *command: str) -> list[str]:
        """Return the command line that runs a command on a node."""
        return self.cluster.nodes[self.node(place)].argv(command)

    def on_node(self, place: Place, *command: str) -> str:
        """Run a command on a node and return what it printed; raises NodeError when it fails."""
        return self.cluster.nodes[self.node(place)].run(command).check().stdout

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the sample pods, that of net-pod as ``client``."""
        pods = {pod["metadata"]["name"]: str(pod["status"]["podIP"]) for pod in self.api().objects(PODS, "default")}
        return {"client" if name == "net-pod" else name: pods[name] for name in SAMPLE_PODS}

    def rules(self, place: Place) -> str:
        """Return the rules of a node for all Services, as iptables-save or nft prints them."""
        commands = {
            "iptables": ("iptables-save", "-t", "nat"),
            "nftables": ("nft", "list", "table", "ip", "kube-proxy"),
        }
        return self.on_node(place, *commands[self.shape.proxy_mode])

    def api(self) -> Api:
        """Return the cluster's API."""
        return Api(self.cluster.kubeconfig)

    def check(self, claims: Sequence[str]) -> RunOutcome:
        """Check claims as a user would, each once; ``claims`` are ids or other markers."""
        return self._run(" or ".join(claims))

    def check_behaviour(self, claims: Sequence[str]) -> RunOutcome:
        """Check claims without access to the nodes."""
        return self._run(" or ".join(claims), _ONLY_BEHAVIOUR)

    def check_all_behaviour(self, *, expiry: bool) -> RunOutcome:
        """Check all claims that need no access to the nodes; those about expiry only on request.

        Except C86 (the only such claim about disruption): it takes long, and repeats others among a thousand Services.
        """
        selection = "affinity and not dataplane and not disruption" + ("" if expiry else " and not expiry")
        return self._run(selection, _ONLY_BEHAVIOUR)

    def _run(self, selection: str, *options: str) -> RunOutcome:
        results = self.directory / "results.xml"
        results.unlink(missing_ok=True)
        argv = (
            *(sys.executable, "-m", "pytest", "-m", selection, f"--junitxml={results}"),
            f"--timeout={CLAIM_SECONDS * self.deadline_scale:g}",
            *("--cluster=embedded", f"--cluster-name={self.cluster.name}", "--keep-cluster", *self.shape.options),
            *("-p", "no:cacheprovider", f"--deadline-scale={self.deadline_scale:g}", *options),
        )
        seconds = RUN_SECONDS * self.deadline_scale
        # Hundreds of runs compile the same modules otherwise, where the environment keeps no bytecode.
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.directory / "bytecode"),
        }
        completed = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        output = completed.stdout + completed.stderr
        assert results.exists(), output
        return read(results.read_text(), output)

    def probe(self) -> Reply:
        """Send a dry-run request for the probe's Service to the API."""
        return self.api().try_create(manifest(PROBE, "default", ServiceRequest("probe")), dry_run=True)

    def wait_for_api(self, *, changed: bool) -> None:
        """Wait until a change of the API is in effect, or no longer."""

        def is_as_expected() -> bool:
            reply = self.probe()
            is_changed = (
                not reply.ok
                or PROBE in reply.body["metadata"]["labels"]
                or any(PROBE in warning for warning in reply.warnings)
            )
            return is_changed == changed

        wait_until(
            is_as_expected,
            _DEADLINE_SECONDS * self.deadline_scale,
            what=f"the API to {'be changed' if changed else 'be as before'}",
            last_state=lambda: str(self.probe()),
        )

    def require_healthy(self) -> None:
        """Check that nothing of a defect is left: a new Service is programmed on every node and keeps its client."""
        filters = [file.name for file in (self.directory / "filters").iterdir()]
        filters += [file.name for file in (self.directory / "configs").iterdir()]
        assert not filters, f"filters that were not removed: {filters}"
        dead = self.cluster.missing_processes()
        assert not dead, f"processes that ended: {dead}"
        api = self.api()
        deadlines = DEFAULTS.scaled(self.deadline_scale)
        client = client_in(api, api.get(PODS, "net-pod", "default"), deadlines)
        services = Services(api, "default", 3, deadlines=deadlines)
        nodes = Nodes(self.cluster.nodes, deadlines=deadlines)
        testbed = Testbed(nodes, self.cluster.proxy_configs, client, services, deadlines)
        service = services.create(ServiceRequest("healed", CLIENT_IP))
        try:
            testbed.wait_for_sync(service, since=time.monotonic()).require()
            answers = client.request(target(service), count=20)
            assert answers.only_endpoint, answers.summary()
        finally:
            services.delete(service)
            api.close()


def start(shape: Shape, directory: Path, *, deadline_scale: float = 1.0) -> DefectiveCluster:
    """Start a cluster whose kube-proxy runs with the wrappers; healthy until a defect is injected."""
    directory.chmod(0o755)
    argv = (
        *(sys.executable, "-m", "session_affinity", "cluster", "up", f"--name={NAME}", *shape.options),
        *(f"--kube-proxy={_wrap_kube_proxy(directory)}", f"--deadline-scale={deadline_scale:g}"),
    )
    completed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    cluster = clusters.find(NAME)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert cluster is not None
    return DefectiveCluster(cluster, shape, directory, deadline_scale)


def _wrap_kube_proxy(directory: Path) -> Path:
    real = binaries.ensure(versions.resolve().release, quiet())["kube-proxy"]
    scripts = {directory / "kube-proxy": _KUBE_PROXY.format(directory=directory, kube_proxy=real)}
    for program in PROGRAMS:
        if real_program := shutil.which(program, path=PATH):
            text = _PROGRAM.format(directory=directory, program=program, real=real_program)
            scripts[directory / "bin" / program] = text
    for subdirectory in ("bin", "filters", "configs"):
        (directory / subdirectory).mkdir()
    for file, text in scripts.items():
        file.write_text(text)
        file.chmod(0o755)
    return directory / "kube-proxy"
