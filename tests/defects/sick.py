"""The cluster that defects are injected into: kept for all of them, judged as a user would judge it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.cluster_objects.services import ServiceRequest, Services, manifest, target
from session_affinity.clusters.embedded import binaries
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.process import PATH
from session_affinity.dataplane.model import CLIENT_IP, ProxyConfig
from session_affinity.kube.api import Api
from session_affinity.kube.resources import PODS
from session_affinity.nodes.nodes import Nodes, until
from session_affinity.progress import quiet
from session_affinity.testbed.testbed import Testbed
from session_affinity.traffic.client import client_in
from tests.defects.defect import Place, Shape
from tests.defects.judged import Judged, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.kube.reply import Reply

ROOT = Path(__file__).parents[2]
NAME = f"defects-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
"""The cluster's name: that of another checkout beside this one is another, a killed run's of this one is replaced."""
SAMPLE_PODS = ("webpod1", "webpod2", "webpod3", "net-pod")
PROBE = "affinity-defect-probe"
"""The name of the Service that a changed API treats unlike all others, so that the change is seen to be in effect."""
CLAIM_SECONDS = 120
RUN_SECONDS = 280
"""What one claim and one run may take, on a machine that is not slow."""
_DEADLINE_SECONDS = 60.0
_UNSEEN = "--only-behaviour"

_KUBE_PROXY = """\
#!/bin/sh
PATH={directory}/bin:$PATH exec {kube_proxy} "$@"
"""
# nft is also asked for what there is; only what it is given to write is read from standard input.
_PROGRAM = """\
#!/bin/sh
filter={directory}/filters/$(hostname).{program}
case "{program} $*" in *restore*|*"-f -"*) ;; *) exec {real} "$@" ;; esac
if [ -s "$filter" ]; then sed -E -f "$filter" | exec {real} "$@"; else exec {real} "$@"; fi
"""
PROGRAMS = ("iptables-restore", "ip6tables-restore", "nft")


@dataclass(frozen=True)
class SickCluster:
    """A kept embedded cluster whose kube-proxy can be made to write what is wrong.

    ``directory`` has the stand-ins for the programs that kube-proxy writes by, and what they are to change.
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
        """Return the file of the sed script that what a node's kube-proxy writes by a program goes through."""
        assert program in PROGRAMS, program
        return self.directory / "filters" / f"{self.node(place)}.{program}"

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
        """Return what a node holds for all Services, as the dataplane's own program prints it."""
        commands = {
            "iptables": ("iptables-save", "-t", "nat"),
            "nftables": ("nft", "list", "table", "ip", "kube-proxy"),
        }
        return self.on_node(place, *commands[self.shape.proxy_mode])

    def api(self) -> Api:
        """Return the cluster's API."""
        return Api(self.cluster.kubeconfig)

    def judge(self, claims: Sequence[str]) -> Judged:
        """Run claims as a user would, each once."""
        return self._run(" or ".join(claims))

    def judge_behaviour(self, claims: Sequence[str]) -> Judged:
        """Run claims as on a cluster whose nodes nobody may look at."""
        return self._run(" or ".join(claims), _UNSEEN)

    def judge_all_behaviour(self, *, waiting: bool) -> Judged:
        """Run all claims that are judged without a look at the nodes, on request those that wait for timeouts too.

        All but the one that makes a thousand Services: it takes long, and sees what others see without them.
        """
        selection = "affinity and not dataplane and not upkeep" + ("" if waiting else " and not expiry")
        return self._run(selection, _UNSEEN)

    def _run(self, selection: str, *options: str) -> Judged:
        results = self.directory / "results.xml"
        results.unlink(missing_ok=True)
        argv = (
            *(sys.executable, "-m", "pytest", "-m", selection, f"--junitxml={results}"),
            f"--timeout={CLAIM_SECONDS * self.deadline_scale:g}",
            *("--cluster=embedded", f"--cluster-name={self.cluster.name}", "--keep-cluster", *self.shape.options),
            *("-p", "no:cacheprovider", f"--deadline-scale={self.deadline_scale:g}", *options),
        )
        seconds = RUN_SECONDS * self.deadline_scale
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
        said = done.stdout + done.stderr
        assert results.exists(), said
        return read(results.read_text(), said)

    def probe(self) -> Reply:
        """Ask the API to make the probe's Service, without making it."""
        return self.api().try_create(manifest(PROBE, "default", ServiceRequest("probe")), dry_run=True)

    def until_the_api(self, *, differs: bool) -> None:
        """Wait until a change of the API is in effect, or has gone again."""

        def seen() -> bool:
            said = self.probe()
            marked = not said.ok or PROBE in said.body["metadata"]["labels"] or any(PROBE in w for w in said.warnings)
            return marked == differs

        assert until(time.monotonic() + _DEADLINE_SECONDS * self.deadline_scale, seen), (
            f"the API still answers {self.probe()}"
        )

    def require_healthy(self) -> None:
        """Check that nothing of a defect is left: a Service made now is programmed everywhere and keeps its client."""
        left = [file.name for file in (self.directory / "filters").iterdir()]
        assert not left, f"left behind: {left}"
        dead = self.cluster.dead()
        assert not dead, f"ended: {dead}"
        api = self.api()
        client = client_in(api, api.get(PODS, "net-pod", "default"), self.deadline_scale)
        services = Services(api, "default", 3, deadline_scale=self.deadline_scale)
        nodes = Nodes(self.cluster.nodes, deadline_scale=self.deadline_scale)
        proxy = ProxyConfig(self.shape.proxy_mode, self.cluster.facts["cluster CIDR"])
        testbed = Testbed(nodes, proxy, client, services, self.deadline_scale)
        service = services.create(ServiceRequest("healed", CLIENT_IP))
        try:
            testbed.wait_for_sync(service, since=time.monotonic()).require()
            answers = client.request(target(service), count=20)
            assert answers.only_endpoint, answers.summary()
        finally:
            services.delete(service)


def start(shape: Shape, directory: Path, *, deadline_scale: float = 1.0) -> SickCluster:
    """Start a cluster whose kube-proxy is wrapped; healthy until a defect is injected."""
    directory.chmod(0o755)
    argv = (
        *(sys.executable, "-m", "session_affinity.clusters.embedded", "up", f"--name={NAME}", *shape.options),
        *(f"--kube-proxy={_wrap_kube_proxy(directory)}", f"--deadline-scale={deadline_scale:g}"),
    )
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    found = clusters.find(NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found is not None
    return SickCluster(found, shape, directory, deadline_scale)


def _wrap_kube_proxy(directory: Path) -> Path:
    real = binaries.ensure(versions.resolve().release, quiet())["kube-proxy"]
    scripts = {directory / "kube-proxy": _KUBE_PROXY.format(directory=directory, kube_proxy=real)}
    for program in PROGRAMS:
        if found := shutil.which(program, path=PATH):
            text = _PROGRAM.format(directory=directory, program=program, real=found)
            scripts[directory / "bin" / program] = text
    for below in ("bin", "filters"):
        (directory / below).mkdir()
    for file, text in scripts.items():
        file.write_text(text)
        file.chmod(0o755)
    return directory / "kube-proxy"
