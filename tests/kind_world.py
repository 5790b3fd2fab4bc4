"""A machine of stand-in programs for tests of kind clusters: files in a directory control what docker and kind do."""

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
"run --rm")
  for argument; do case $argument in --mount=*) mount=${{argument#*source=}} ;; esac; done
  [ -z "$mount" ] && {{ cat "$here/version"; exit; }}
  [ -e "$here/mounts-nothing" ] && {{ echo "mounts denied" >&2; exit 125; }}
  cat "${{mount%%,*}}/${{argument##*/}}" ;;
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
    """A machine of stand-in programs; the files in ``here`` are its state."""

    here: Path

    @property
    def bin(self) -> Path:
        """The only directory on PATH."""
        return self.here / "bin"

    def write(self, name: str, text: str = "") -> None:
        """Write a file that changes what a program does."""
        (self.here / name).write_text(text, encoding="utf-8")

    def image(
        self,
        name: str,
        *,
        architecture: str = "amd64",
        entrypoint: str = "/usr/local/bin/entrypoint",
        description: str = "",
        tags: Sequence[str] = (),
    ) -> None:
        """Add an image to the engine; by default it is a node image for this machine."""
        inspected = _inspected_image(architecture, entrypoint, description, tags)
        self.write(f"image-{name.translate(str.maketrans('/:@', '___'))}", inspected)

    def program(self, name: str, text: str) -> None:
        """Install a program."""
        file = self.bin / name
        file.write_text(text.format(here=self.here, program=name), encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def remove(self, name: str) -> None:
        """Uninstall a program."""
        (self.bin / name).unlink()

    def node(self, *lines: str) -> None:
        """Set the containers of the cluster, each as ``id|name|state``."""
        self.write("nodes", "".join(f"{line}\n" for line in lines))

    @property
    def nodes(self) -> str:
        """The containers of the cluster in the engine's list, one line each."""
        return (self.here / "nodes").read_text(encoding="utf-8")

    @property
    def network(self) -> bool:
        """Whether the network of kind exists."""
        return (self.here / "network").exists()

    def calls(self, beginning: str) -> list[str]:
        """Return the program calls that begin with this text; arguments are in brackets."""
        file = self.here / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(beginning)]


def _inspected_image(
    architecture: str = "amd64",
    entrypoint: str = "/usr/local/bin/entrypoint",
    description: str = "",
    tags: Sequence[str] = (),
) -> str:
    """Return the output of ``docker image inspect`` for an image."""
    labels = {"org.opencontainers.image.description": description} if description else None
    settings = {"Entrypoint": [entrypoint, "/sbin/init"], "Labels": labels}
    image = {"Id": "sha256:1234", "Architecture": architecture, "Config": settings, "RepoTags": list(tags)}
    return json.dumps([image])


def make_world(directory: Path) -> World:
    """Return a machine on which everything works; its directory has a space in its name."""
    here = directory / "a world"
    (here / "bin").mkdir(parents=True)
    world = World(here)
    world.program("docker", ENGINE)
    world.program("kind", KIND)
    world.write("info", f"28.2.2|x86_64|{directory}\n")
    world.write("kind-version", "0.33.0")
    world.write("version", "v1.37.2\n")
    world.write("to-pull", _inspected_image())
    for name in ("nodes", "others", "images"):
        world.write(name)
    world.image(NODE_IMAGE)
    return world


def is_running(pid: int) -> bool:
    """Return whether a process still runs."""
    state = subprocess.run(("/bin/ps", "-o", "stat=", "-p", str(pid)), capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")
