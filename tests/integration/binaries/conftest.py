"""Stand-ins that are real where it matters: programs that start, servers that answer, a ``go`` that is run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from rich.console import Console

from session_affinity.clusters.embedded.binaries import Cache, Origin
from session_affinity.clusters.embedded.binaries.pins import Component, Download, Module, Program, machine_arch
from session_affinity.clusters.embedded.binaries.store import Staging
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from session_affinity.clusters.embedded.binaries import Installed

ECHO = Path(shutil.which("echo") or "/bin/echo").resolve()
GO = """#!/bin/sh
here={here}
case "$1 $2" in
"version ") echo "go version go{version} linux/amd64" ;;
"mod download") cat "$here/download.json"; exit "$(cat "$here/download.code")" ;;
"mod edit") cat "$here/module.json" ;;
"build -v")
  name=$(basename "$5")
  echo "$name" >> "$here/builds"
  env > "$here/environment"
  cp go.mod "$here/go.mod"
  if [ -e "$here/hangs-$name" ]; then
    sleep 60 & echo "$!" > "$here/hanging.new"; mv "$here/hanging.new" "$here/hanging"; wait
  fi
  if [ -e "$here/fails-$name" ]; then
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do echo "line $i of it" >&2; done
    echo "x.go:3:1: cannot find -lsomething" >&2; exit 3
  fi
  echo "example.com/one" >&2; echo "example.com/two" >&2
  cp {echo} "$5" ;;
esac
"""


@dataclass(frozen=True)
class FakeGo:
    """A ``go`` command first on a PATH, and the files that make it behave or tell what it was asked."""

    directory: Path
    version: str = "1.26.8"

    def install(self, *, requires: str = "1.26.0", error: str = "") -> None:
        """Write the command; the module it downloads has that go line, or fails to download with that error."""
        self.directory.mkdir(exist_ok=True)
        command = self.directory / "go"
        command.write_text(GO.format(here=self.directory, version=self.version, echo=ECHO), encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        self.write("download.json", json.dumps({"Error": error} if error else {"GoMod": "go.mod"}))
        self.write("download.code", "1" if error else "0")
        self.write("module.json", json.dumps({"Go": requires, "Require": None, "Replace": None}))

    def write(self, name: str, text: str = "") -> None:
        """Make a file beside the command."""
        (self.directory / name).write_text(text, encoding="utf-8")

    @property
    def builds(self) -> list[str]:
        """The programs it was asked to build, in order."""
        file = self.directory / "builds"
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    @property
    def user(self) -> dict[str, str]:
        """An environment with this command first on its PATH."""
        return {"PATH": f"{self.directory}:{os.environ['PATH']}", "HOME": str(self.directory)}


@dataclass
class FakeBuilder:
    """A source that always succeeds, and knows how often it was asked."""

    cache: Cache
    asked: list[str] = field(default_factory=list)

    def obtain(self, component: Component) -> Installed:
        """Install copies of a program that does as it is told."""
        self.asked.append(component.name)
        staging = Staging(self.cache, component, "build", "fake")
        for program in component.programs:
            made = staging.work / program.name
            shutil.copyfile(ECHO, made)
            staging.add(program.name, made)
        return staging.install(Origin("built with go1.0", "a test"))


class Server:
    """Answers GET with what ``files`` holds: bytes, or a function of the handler."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            server_version: ClassVar[str] = "test"
            outer: ClassVar[Server] = self

            def do_GET(self) -> None:
                self.outer.asked.append(self.path)
                answer = self.outer.files.get(self.path)
                if callable(answer):
                    answer(self)
                elif answer is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._server.server_address[1]

    def publish(self, path: str, content: bytes, *, checksum: str = "") -> None:
        """Serve a file, and beside it its checksum or that other one."""
        self.files[path] = content
        line = f"{checksum or hashlib.sha256(content).hexdigest()}  {path.rsplit('/', 1)[1]}\n"
        self.files[f"{path}.sha256"] = line.encode()

    def close(self) -> None:
        """Let everything that stalls go on, and stop."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A release server on this machine, reached without a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


@pytest.fixture
def said() -> io.StringIO:
    """What was told of the progress."""
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    """Progress as a log keeps it."""
    return Progress(console=Console(file=said, width=400))


@pytest.fixture
def builder(cache: Cache) -> FakeBuilder:
    """A build that works."""
    return FakeBuilder(cache)


@pytest.fixture
def go(tmp_path: Path) -> FakeGo:
    """A ``go`` of version 1.26.8 that works."""
    fake = FakeGo(tmp_path / "go-on-path")
    fake.install()
    return fake


@pytest.fixture
def content() -> bytes:
    """A program for this machine that prints its arguments."""
    return ECHO.read_bytes()


@pytest.fixture
def tool() -> Component:
    """A component of two programs, each published as a file of its own."""
    return make_component("one", "two")


def make_component(*names: str, cgo: bool = False) -> Component:
    """Return a component whose programs, run with the arguments of their check, tell its version."""
    downloads = tuple(
        Download(f"https://example.test/v1.2.3/{name}", f"https://example.test/v1.2.3/{name}.sha256", ((name, ""),))
        for name in names
    )
    programs = tuple(Program(name, f"cmd/{name}", ("1.2.3",), ()) for name in names)
    module = Module("example.com/tool", "v1.2.3", cgo, (), ("netgo",), ("-X", "example.com/tool.version=v1.2.3"))
    return Component("tool", "1.2.3", machine_arch(), programs, module, downloads)
