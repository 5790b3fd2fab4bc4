"""A machine on which kind runs clusters, made of stand-ins: programs that do what files say."""

from __future__ import annotations

import json
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.proxy_config import ProxyConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WHOAMI: Final = "traefik/whoami"
NETSHOOT: Final = "nicolaka/netshoot"
NODE_IMAGE: Final = "example/node:v1.37.2"
PROXY_CONFIG: Final = ProxyConfig("iptables", "10.10.0.0/16")
MYK8S: Final = ("myk8s-control-plane", "myk8s-worker", "myk8s-worker2", "myk8s-worker3")

ENGINE = r"""#!/bin/sh
PATH=/usr/bin:/bin; here='{here}'
printf '{program}' >>"$here/calls"; printf ' [%s]' "$@" >>"$here/calls"; echo >>"$here/calls"
image() {{ echo "$here/image-$(echo "$1" | tr '/:@' '___')"; }}
case "$1 $2" in
"info --format")
  [ -e "$here/hangs" ] && sleep 60
  [ -e "$here/stopped" ] && {{ echo "Cannot connect to the Docker daemon at unix:///x." >&2; exit 1; }}
  cat "$here/info" ;;
"ps --all")
  case "$5" in label=*) cat "$here/nodes" ;; *) cat "$here/nodes" "$here/others" ;; esac ;;
"image inspect") cat "$(image "$3")" 2>/dev/null || {{ echo "Error: No such image: $3" >&2; exit 1; }} ;;
"images --format") cat "$here/images" ;;
"network inspect") [ -e "$here/network" ] ;;
"network rm") rm "$here/network" 2>/dev/null ;;
"pull "*)
  cat "$here/pull-fails" >&2 2>/dev/null && exit 1
  cp "$here/to-pull" "$(image "$2")" ;;
"run --rm") cat "$here/version" ;;
"exec "*)
  [ -e "$here/exec-hangs" ] && sleep 60
  cat "$here/exec-out" 2>/dev/null; cat "$here/exec-err" >&2 2>/dev/null
  [ "$2" = -i ] && cat
  exit "$(cat "$here/exec-code" 2>/dev/null || echo 0)" ;;
esac
"""
KIND = r"""#!/bin/sh
PATH=/usr/bin:/bin; here='{here}'
printf 'kind' >>"$here/calls"; printf ' [%s]' "$@" >>"$here/calls"; echo >>"$here/calls"
echo "$KIND_EXPERIMENTAL_PROVIDER" >"$here/provider"
case "$1 $2" in
"version "*) echo "kind v$(cat "$here/kind-version") go1.26.0 linux/amd64" ;;
"create cluster")
  while [ $# -gt 0 ]; do [ "$1" = --kubeconfig ] && kubeconfig=$2; shift; done
  [ -s "$here/nodes" ] && {{ echo 'ERROR: failed to create cluster: node(s) already exist for a cluster' >&2; exit 1; }}
  touch "$here/network"
  echo 'Creating cluster "myk8s" ...' >&2
  echo ' • Preparing nodes 📦 📦  ...' >&2; echo 'id0|myk8s-control-plane|running' >"$here/nodes"
  if [ -e "$here/create-hangs" ]; then
    echo $$ >"$here/pid"; sleep 60 & echo $! >"$here/hanging.new"; mv "$here/hanging.new" "$here/hanging"; wait
  fi
  cat "$here/create-fails" >&2 2>/dev/null && exit 1
  echo ' ✓ Preparing nodes 📦 📦' >&2
  (umask 077; echo a kubeconfig >"$kubeconfig")
  for n in '' 2 3; do echo "id-worker$n|myk8s-worker$n|running"; done >>"$here/nodes" ;;
"delete cluster")
  cat "$here/delete-fails" >&2 2>/dev/null && exit 1
  touch "$here/deleting"; sleep "$(cat "$here/delete-takes" 2>/dev/null || echo 0)"
  [ -e "$here/stubborn" ] && rm "$here/stubborn" || : >"$here/nodes" ;;
"load docker-image" | "load image-archive") cat "$here/load-fails" >&2 2>/dev/null && exit 1 ;;
"export logs") mkdir -p "$3" && echo log >"$3/node.log" ;;
esac
exit 0
"""


@dataclass(frozen=True)
class World:
    """A machine as the files of a directory say it is."""

    here: Path

    @property
    def bin(self) -> Path:
        """The only directory on PATH."""
        return self.here / "bin"

    def write(self, name: str, text: str = "") -> None:
        """Make a file that changes what a program does."""
        (self.here / name).write_text(text, encoding="utf-8")

    def image(self, name: str, **changes: object) -> None:
        """Let the engine have an image: a node image for this machine unless said otherwise."""
        self.write(f"image-{name.translate(str.maketrans('/:@', '___'))}", _image(**changes))

    def program(self, name: str, text: str) -> None:
        """Put a program on PATH."""
        file = self.bin / name
        file.write_text(text.format(here=self.here, program=name), encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def remove(self, name: str) -> None:
        """Take a program from PATH."""
        (self.bin / name).unlink()

    def node(self, *lines: str) -> None:
        """Let the engine have these containers of the cluster: ``id|name|state``."""
        self.write("nodes", "".join(f"{line}\n" for line in lines))

    @property
    def nodes(self) -> str:
        """The containers of the cluster, as the engine lists them."""
        return (self.here / "nodes").read_text(encoding="utf-8")

    @property
    def network(self) -> bool:
        """Whether there is a network for kind."""
        return (self.here / "network").exists()

    def calls(self, beginning: str) -> list[str]:
        """Return the calls that begin so, their arguments in brackets."""
        file = self.here / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(beginning)]


def _image(
    *,
    architecture: str = "amd64",
    entrypoint: str = "/usr/local/bin/entrypoint",
    description: str = "",
    tags: Sequence[str] = (),
) -> str:
    labels = {"org.opencontainers.image.description": description} if description else None
    settings = {"Entrypoint": [entrypoint, "/sbin/init"], "Labels": labels}
    found = {"Id": "sha256:1234", "Architecture": architecture, "Config": settings, "RepoTags": list(tags)}
    return json.dumps([found])


def make_world(directory: Path) -> World:
    """Return a machine on which everything works, below a directory with a space in its name."""
    here = directory / "a world"
    (here / "bin").mkdir(parents=True)
    made = World(here)
    made.program("docker", ENGINE)
    made.program("kind", KIND)
    made.write("info", f"28.2.2|x86_64|{directory}\n")
    made.write("kind-version", "0.33.0")
    made.write("version", "v1.37.2\n")
    made.write("to-pull", _image())
    for name in ("nodes", "others", "images"):
        made.write(name)
    made.image(NODE_IMAGE)
    return made


def is_running(pid: int) -> bool:
    """Whether a process still runs."""
    state = subprocess.run(("/bin/ps", "-o", "stat=", "-p", str(pid)), capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")
