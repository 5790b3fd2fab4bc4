"""The credentials that Kubernetes puts into a pod lead to its API server, and stay valid when the token is renewed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.external import access
from session_affinity.errors import UsageError
from session_affinity.kube import in_cluster
from session_affinity.kube.api import Api
from session_affinity.kube.resources import PODS
from session_affinity.options import cluster_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod with a ServiceAccount has."""
    for name, text in (("token", "first"), ("namespace", "team"), ("ca.crt", "no certificate")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(in_cluster, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv(in_cluster.HOST, "10.0.0.1")
    monkeypatch.setenv(in_cluster.PORT, "443")
    return tmp_path


def test_the_api_server_is_that_of_the_pod(mounted: Path) -> None:
    route = access.read(mounted, None)

    assert (route.server, route.context) == ("https://10.0.0.1:443", "in-cluster")
    assert access.default_namespace(route) == "team"


def test_an_ipv6_address_is_in_brackets(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(in_cluster.HOST, "fd00::1")

    assert access.read(mounted, None).server == "https://[fd00::1]:443"


def test_outside_of_a_pod_the_message_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(in_cluster.HOST, raising=False)

    with pytest.raises(UsageError, match=r"this is no pod (?s:.*)KUBERNETES_SERVICE_HOST(?s:.*)use --kubeconfig FILE"):
        access.read(in_cluster.SERVICE_ACCOUNT, None)


def test_credentials_of_a_pod_and_a_kubeconfig_exclude_each_other(tmp_path: Path) -> None:
    values = {"--in-cluster-credentials": True, "--kubeconfig": tmp_path, "--deadline-scale": 1.0}

    with pytest.raises(UsageError, match="name different clusters"):
        cluster_options(values.get)


class Log(BaseHTTPRequestHandler):
    """A log that ends in the middle of a line, and goes on when it is asked for again."""

    requests: list[str]
    answers: list[bytes]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answers.pop(0))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a server that has a log."""
    Log.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Log)
    threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    (tmp_path / "kubeconfig").write_text(
        "{apiVersion: v1, kind: Config, current-context: x, users: [{name: x, user: {token: t}}],"
        f" clusters: [{{name: x, cluster: {{server: '{address}'}}}}],"
        " contexts: [{name: x, context: {cluster: x, user: x}}]}"
    )
    yield tmp_path / "kubeconfig"
    server.shutdown()
    server.server_close()


def test_a_log_is_followed_over_a_lost_connection_without_loss_or_repetition(log: Path) -> None:
    from session_affinity.kube import logs

    Log.answers = [
        b"2026-01-01T00:00:01.1Z one\n2026-01-01T00:00:01.2Z two\n",
        b"2026-01-01T00:00:01.1Z one\n2026-01-01T00:00:01.2Z two\n2026-01-01T00:00:01.3Z three\n",
    ]
    ended = iter((False, True, True, True))

    lines = list(logs.follow(Api(log), "team", "pod", "check", lambda: next(ended)))

    assert lines == ["one", "two", "three"]
    assert ["sinceTime=2026-01-01T00%3A00%3A01.2Z" in path for path in Log.requests] == [False, True]
    assert Log.requests[0].startswith(PODS.path("team", "pod", "log"))
