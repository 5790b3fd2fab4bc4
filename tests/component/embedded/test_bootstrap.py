"""The first requests to the API server of a new cluster, with a server on loopback instead."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.bootstrap import Bootstrap
from session_affinity.clusters.embedded.layout import Layout, node_layouts
from session_affinity.clusters.embedded.pki import Authority
from session_affinity.clusters.embedded.state import STATE_VARIABLE, StateDirectory
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Return a function that creates a cluster's Nodes at a server with these answers, and returns the requests."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    state = StateDirectory("mine")
    state.create(("mine",))
    authority = Authority(state.pki, "test")
    authority.issue("admin", "admin", "system:masters")
    serving = authority.issue("apiserver", "kube-apiserver", names=("127.0.0.1",), server=True)
    requests: list[str] = []
    answers: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(f"{body['kind']} {body['metadata']['name']}")
            self.send_response(answers.pop(0) if answers else http.HTTPStatus.CREATED)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving.certificate, serving.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()

        def create(*given: int) -> list[str]:
            answers[:] = given
            layout = Layout("mine", "1.37.2", "iptables", {}, "", node_layouts("mine", 0))
            Bootstrap(layout, state, server.server_address[1], lambda: None).create_nodes()
            return requests

        yield create
        server.shutdown()
        thread.join()


def test_an_api_server_that_was_too_slow_is_asked_again(answered: Callable[..., list[str]]) -> None:
    binding, *nodes = answered(201, 504, 504, 201)

    assert binding == "ClusterRoleBinding session-affinity:kube-apiserver-to-kubelet"
    assert nodes == ["Node mine-control-plane"] * 3


def test_an_api_server_that_stays_too_slow_is_an_error(answered: Callable[..., list[str]]) -> None:
    with pytest.raises(ClusterError, match=r"no answer from the API server to POST .*too many 504 error responses"):
        answered(*[504] * 10)


def test_a_refusal_is_an_error_at_once(answered: Callable[..., list[str]]) -> None:
    with pytest.raises(ClusterError, match="the API server refused Node mine-control-plane: 403"):
        answered(201, 403)
