"""Clients with the credentials of a kubeconfig, against a TLS server in this process that wants a certificate."""

from __future__ import annotations

import base64
import http.server
import json
import os
import ssl
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
import yaml

from session_affinity.clusters.embedded.pki import Authority
from session_affinity.kube.api import Api
from session_affinity.kube.kubeconfig_client import new_client
from session_affinity.kube.resources import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the name in the client's certificate and its token, and closes the connection."""

    def do_GET(self) -> None:
        certificate = self.connection.getpeercert()
        names = dict(pair for part in certificate["subject"] for pair in part)
        content = json.dumps({"user": names["commonName"], "token": self.headers["Authorization"]}).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    directory = tmp_path / "pki"
    directory.mkdir()
    return Authority(directory, "test")


@pytest.fixture
def server(authority: Authority) -> Iterator[str]:
    """Yield the address of the server."""
    serving = authority.issue("apiserver", "kube-apiserver", names=("127.0.0.1",), server=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving.certificate, serving.key)
        context.load_verify_locations(serving.certificate.parent / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()
        thread.join()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory for temporary files, which is empty."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def written(tmp_path: Path, authority: Authority, server: str, *, inline: bool, token: str = "") -> Path:
    """Write a kubeconfig that contains the credentials or, with paths relative to it, names their files."""
    credential = authority.issue("someone", "someone", "some-group")
    names = {
        "certificate-authority": credential.certificate.parent / "ca.crt",
        "client-certificate": credential.certificate,
        "client-key": credential.key,
    }
    entries = (
        {f"{name}-data": base64.b64encode(file.read_bytes()).decode() for name, file in names.items()}
        if inline
        else {name: str(file.relative_to(tmp_path)) for name, file in names.items()}
    )
    user = {name: value for name, value in entries.items() if name.startswith("client")}
    cluster = {name: value for name, value in entries.items() if name not in user}
    file = tmp_path / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user | ({"token": token} if token else {})}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")
@pytest.mark.parametrize("token", ["", "secret"])
def test_credentials_in_a_kubeconfig_are_not_written_to_disk(
    token: str, tmp_path: Path, authority: Authority, server: str, temporary: Path
) -> None:
    """A killed process removes nothing, so nothing may be there; with a token the library sets its paths again."""
    api = Api(written(tmp_path, authority, server, inline=True, token=token), request_seconds=2)

    answers = [api.get(SERVICES, "svc", "default") for _ in range(2)]

    assert answers == [{"user": "someone", "token": f"Bearer {token}" if token else None}] * 2
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")
@pytest.mark.parametrize("token", ["", "secret"])
def test_a_websocket_has_the_same_credentials(
    token: str, tmp_path: Path, authority: Authority, server: str, temporary: Path
) -> None:
    """A websocket opens the files that the configuration names, at any time."""
    client = new_client(written(tmp_path, authority, server, inline=True, token=token), None)

    client.update_params_for_auth({}, [], ["BearerToken"], "", "GET", None)
    context = ssl.create_default_context(cafile=client.configuration.ssl_ca_cert)
    context.load_cert_chain(client.configuration.cert_file, client.configuration.key_file)

    assert context.cert_store_stats()["x509_ca"] == 1
    assert list(temporary.iterdir()) == []


def test_files_that_a_kubeconfig_names_are_used(
    tmp_path: Path, authority: Authority, server: str, temporary: Path
) -> None:
    api = Api(written(tmp_path, authority, server, inline=False), request_seconds=2)

    assert api.get(SERVICES, "svc", "default")["user"] == "someone"
    assert list(temporary.iterdir()) == []


def test_without_files_in_memory_the_librarys_files_are_used(
    tmp_path: Path, authority: Authority, server: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are removed when the process ends."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    api = Api(written(tmp_path, authority, server, inline=True), request_seconds=2)

    assert api.get(SERVICES, "svc", "default")["user"] == "someone"
    assert len(list(temporary.iterdir())) == 3
