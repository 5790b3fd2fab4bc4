"""A server on the loopback address in place of all publishers of versions."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from ci.kubernetes_versions.published import Addresses

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Publisher:
    """The responses by path, and the headers of the requests by path."""

    addresses: Addresses
    responses: dict[str, bytes] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A server of releases, kind's notes, tokens and manifests, without responses until a test adds some."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            server_state.requests[path] = self.headers
            body = server_state.responses.get(path)
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
        root = f"http://127.0.0.1:{server.server_port}"
        addresses = Addresses(f"{root}/release", f"{root}/kind", f"{root}/registry", f"{root}/token", "secret")
        server_state = Publisher(addresses)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server_state
        server.shutdown()
        thread.join()
