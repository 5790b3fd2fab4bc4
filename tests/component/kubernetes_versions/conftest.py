"""A stand-in for everything that is asked about versions, on the loopback address."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from ci.kubernetes_versions.published import Places

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Publisher:
    """Answers by path; every request is noted with its headers."""

    places: Places
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A server of releases, kind's notes, tokens and manifests; empty until a test fills it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            made.asked[path] = self.headers
            body = made.answers.get(path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        places = Places(f"{address}/release", f"{address}/kind", f"{address}/registry", f"{address}/token", "secret")
        made = Publisher(places)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()
