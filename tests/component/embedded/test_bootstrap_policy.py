"""What API servers create at their first start, read from etcd and written to it, with a server on loopback instead."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded.bootstrap_policy import Etcd
from session_affinity.clusters.embedded.pki import Authority
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUE = base64.b64encode(b"k8s").decode()


class FakeEtcd(http.server.BaseHTTPRequestHandler):
    """Answers as etcd's JSON gateway does; ``stored`` are the values by key."""

    protocol_version = "HTTP/1.1"
    stored: dict[str, str]
    largest: int

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self._answer(body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.path == "/v3/kv/range":
            first, end = (base64.b64decode(body.get(name, "")).decode() for name in ("key", "range_end"))
            found = {key: value for key, value in self.stored.items() if first <= key < end}
            pairs = [{"key": base64.b64encode(key.encode()).decode(), "value": found[key]} for key in found]
            return 200, {"kvs": pairs} if pairs else {}
        if len(body["success"]) > self.largest:
            return 400, {"message": "etcdserver: too many operations in txn request"}
        keys = [base64.b64decode(compared["key"]).decode() for compared in body["compare"]]
        if not self.stored.keys().isdisjoint(keys):
            return 200, {}
        puts = [operation["requestPut"] for operation in body["success"]]
        self.stored.update({base64.b64decode(put["key"]).decode(): put["value"] for put in puts})
        return 200, {"succeeded": True}

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def served(pki: Path, stored: dict[str, str], largest: int = 128) -> Iterator[Etcd]:
    """Serve etcd with these values, and yield what asks it."""
    authority = Authority(pki, "test")
    serving = authority.issue("etcd", "etcd", names=("127.0.0.1",), server=True)
    authority.issue("etcd-client", "kube-apiserver-etcd-client")
    handler = type("Handler", (FakeEtcd,), {"stored": stored, "largest": largest})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(serving.certificate, serving.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Etcd(pki, 5.0, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """An empty directory for keys."""
    directory = tmp_path / "pki"
    directory.mkdir(mode=0o700)
    return directory


def test_only_what_the_api_server_creates_is_read(pki: Path) -> None:
    roles = {f"/registry/clusterroles/{name}": VALUE for name in ("admin", "system:node")}
    others = ("clusterrolebindings/session-affinity:kube-apiserver-to-kubelet", "secrets/default/mine", "minions/mine")

    with served(pki, {**roles, **{f"/registry/{name}": VALUE for name in others}}) as etcd:
        assert etcd.objects() == roles


def test_all_objects_are_created(pki: Path) -> None:
    objects = {f"/registry/clusterroles/system:{number}": VALUE for number in range(300)}
    stored: dict[str, str] = {}

    with served(pki, stored) as etcd:
        etcd.create(objects)

    assert stored == objects


def test_what_exists_already_stays(pki: Path) -> None:
    stored = {"/registry/namespaces/default": "newer"}

    with served(pki, stored) as etcd:
        etcd.create({"/registry/namespaces/default": VALUE})

    assert stored == {"/registry/namespaces/default": "newer"}


def test_a_refusal_is_an_error(pki: Path) -> None:
    with served(pki, {}, largest=0) as etcd, pytest.raises(ClusterError, match=r"etcd refuses txn: 400 .*too many"):
        etcd.create({"/registry/namespaces/default": VALUE})


def test_no_etcd_does_not_answer(pki: Path) -> None:
    with served(pki, {}) as etcd:
        assert etcd.answers()
    assert not etcd.answers()
