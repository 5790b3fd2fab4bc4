"""Fakes for the tests of binaries: a ``go`` command, a source that builds, a release server."""

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

    from session_affinity.clusters.embedded.binaries import InstalledComponent

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
    """A fake ``go`` command, with files that control it and files in which it records its calls."""

    directory: Path
    version: str = "1.26.8"

    def install(self, *, requires: str = "1.26.0", error: str = "") -> None:
        """Write the command; the module that it downloads has ``requires`` as go line, or fails with ``error``."""
        self.directory.mkdir(exist_ok=True)
        command = self.directory / "go"
        command.write_text(GO.format(here=self.directory, version=self.version, echo=ECHO), encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        self.write("download.json", json.dumps({"Error": error} if error else {"GoMod": "go.mod"}))
        self.write("download.code", "1" if error else "0")
        self.write("module.json", json.dumps({"Go": requires, "Require": None, "Replace": None}))

    def write(self, name: str, text: str = "") -> None:
        """Write a file beside the command."""
        (self.directory / name).write_text(text, encoding="utf-8")

    @property
    def builds(self) -> list[str]:
        """The programs that it built or tried to build, in order."""
        file = self.directory / "builds"
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    @property
    def user(self) -> dict[str, str]:
        """An environment with this command first on its PATH."""
        return {"PATH": f"{self.directory}:{os.environ['PATH']}", "HOME": str(self.directory)}


@dataclass
class FakeBuilder:
    """A source that always succeeds and records the components it installed."""

    cache: Cache
    components: list[str] = field(default_factory=list)

    def obtain(self, component: Component) -> InstalledComponent:
        """Install copies of echo as the component's programs."""
        self.components.append(component.name)
        staging = Staging(self.cache, component, "build", "fake")
        for program in component.programs:
            file = staging.work / program.name
            shutil.copyfile(ECHO, file)
            staging.add(program.name, file)
        return staging.install(Origin("built with go1.0", "a test"))


class Server:
    """A server that answers GET with the entry of ``files`` for the path: bytes, or a function of the handler."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str] = []
        self.ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            server_version: ClassVar[str] = "test"
            outer: ClassVar[Server] = self

            def do_GET(self) -> None:
                self.outer.requests.append(self.path)
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
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self._server.server_address[1]

    def publish(self, path: str, content: bytes, *, checksum: str = "") -> None:
        """Serve a file and its checksum file, which has ``checksum`` when that is given."""
        self.files[path] = content
        line = f"{checksum or hashlib.sha256(content).hexdigest()}  {path.rsplit('/', 1)[1]}\n"
        self.files[f"{path}.sha256"] = line.encode()

    def close(self) -> None:
        """Release stalled answers and stop."""
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
def progress_output() -> io.StringIO:
    """The output of ``progress``."""
    return io.StringIO()


@pytest.fixture
def progress(progress_output: io.StringIO) -> Progress:
    """Progress that writes lines as to a log."""
    return Progress(console=Console(file=progress_output, width=400))


@pytest.fixture
def builder(cache: Cache) -> FakeBuilder:
    """A source whose builds succeed."""
    return FakeBuilder(cache)


@pytest.fixture
def go(tmp_path: Path) -> FakeGo:
    """A fake ``go`` of version 1.26.8 whose builds succeed."""
    fake = FakeGo(tmp_path / "go-on-path")
    fake.install()
    return fake


@pytest.fixture
def content() -> bytes:
    """The content of a program for this machine that prints its arguments."""
    return ECHO.read_bytes()


@pytest.fixture
def tool() -> Component:
    """A component with two programs, each published as a separate file."""
    return make_component("one", "two")


def make_component(*names: str, cgo: bool = False) -> Component:
    """Return a component whose programs print its version when they are checked."""
    downloads = tuple(
        Download(f"https://example.test/v1.2.3/{name}", f"https://example.test/v1.2.3/{name}.sha256", ((name, ""),))
        for name in names
    )
    programs = tuple(Program(name, f"cmd/{name}", ("1.2.3",), ()) for name in names)
    module = Module("example.com/tool", "v1.2.3", cgo, (), ("netgo",), ("-X", "example.com/tool.version=v1.2.3"))
    return Component("tool", "1.2.3", machine_arch(), programs, module, downloads)
