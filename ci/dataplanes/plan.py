"""The dataplanes that are judged every night, as inputs of the workflow kind-and-cni. Needs no library."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from session_affinity import versions

ROOT: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).with_name("dataplanes.json")
INSTALL: Final = Path("ci/dataplanes/install")
DIFFERENCES: Final = Path("ci/dataplanes/differences")


@dataclass(frozen=True)
class Dataplane:
    """A dataplane in one of its modes.

    ``version`` is empty for kube-proxy, whose version is that of the node image. ``install`` is a script below
    ``INSTALL`` with its arguments, empty where kind installs everything. ``proxy_mode`` is that of kube-proxy there.
    """

    name: str
    organization: str
    project: str
    url: str
    version: str
    mode: str
    proxy_mode: str
    default_cni: bool
    install: str

    @property
    def differences(self) -> Path:
        """The file of known differences, from the root of the checkout."""
        return DIFFERENCES / f"{self.name}.yaml"

    def leg(self, kubernetes: str) -> dict[str, Any]:
        """Return the inputs of the workflow; ``kubernetes`` is the version of the node image."""
        version = self.version or kubernetes
        setup = f"VERSION={shlex.quote(version)} {INSTALL / self.install}" if self.install else "true"
        options = {"organization": self.organization, "project": self.project, "url": self.url}
        return {
            "name": self.name,
            "setup": setup,
            "proxy_mode": self.proxy_mode,
            "default_cni": self.default_cni,
            "version": version,
            "mode": self.mode,
            "differences": str(self.differences),
            "args": shlex.join(f"--implementation-{name}={value}" for name, value in options.items()),
        }


def dataplanes(file: Path = LIST) -> tuple[Dataplane, ...]:
    """Return the dataplanes of the list."""
    return tuple(Dataplane(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))["dataplanes"])


def node_version() -> str:
    """Return the Kubernetes version of the default node image, such as v1.37.0; raises SuiteError."""
    return versions.load().default.kind.image.partition(":")[2].partition("@")[0]


def matrix(*names: str) -> dict[str, Any]:
    """Return the matrix of the workflow: all dataplanes, or those of these names; raises ValueError for others."""
    known = {dataplane.name: dataplane for dataplane in dataplanes()}
    if unknown := set(names) - known.keys():
        raise ValueError(f"no dataplane {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    kubernetes = node_version()
    return {"include": [known[name].leg(kubernetes) for name in names or known]}
