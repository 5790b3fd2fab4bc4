"""The client of the API against a server in this process."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from session_affinity.kube.api import Api, ApiError, PatchType
from session_affinity.kube.resources import SERVICES, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORED = {"metadata": {"name": "svc", "namespace": "default"}, "spec": {"sessionAffinity": "ClientIP"}}


class Server(BaseHTTPRequestHandler):
    """Sends ``first_answers``, then ``answer`` to every request; keeps the requests."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: a second would wait for the first to be acknowledged
    requests: list[dict[str, Any]]
    answer: tuple[int, Any]
    warnings: tuple[str, ...]
    first_answers: list[tuple[int, Any]]

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.requests.append(
            {
                "method": self.command,
                "path": url.path,
                "query": {name: values[0] for name, values in parse_qs(url.query).items()},
                "type": self.headers.get("Content-Type"),
                "token": self.headers.get("Authorization"),
                "body": json.loads(self.rfile.read(length) or b"null"),
            }
        )
        status, body = self.first_answers.pop(0) if self.first_answers else self.answer
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for warning in self.warnings:
            self.send_header("Warning", warning)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


for method in ("GET", "POST", "PATCH", "DELETE"):
    setattr(Server, f"do_{method}", Server._serve)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Server.requests, Server.answer, Server.warnings, Server.first_answers = [], (200, STORED), (), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(server: ThreadingHTTPServer, tmp_path: Path) -> Path:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def api(kubeconfig: Path) -> Api:
    return Api(kubeconfig, request_seconds=2)


def request() -> dict[str, Any]:
    """Return the only request that the server got."""
    (only,) = Server.requests
    return only


def test_objects_are_returned_as_stored(api: Api) -> None:
    assert api.get(SERVICES, "svc", "default") == STORED
    assert request()["path"] == "/api/v1/namespaces/default/services/svc"
    assert request()["token"] == "Bearer secret"


def test_labels_select(api: Api) -> None:
    Server.answer = (200, {"items": None})

    assert api.objects(SERVICES, "default", labels="app=webpod") == []
    assert request()["query"] == {"labelSelector": "app=webpod"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"items": None}, 0),
        ({"metadata": {}, "items": [STORED]}, 1),
        ({"metadata": {"continue": "x", "remainingItemCount": 41}, "items": [STORED]}, 42),
        ({"metadata": {"continue": "x"}, "items": [STORED]}, None),
    ],
)
def test_objects_are_counted_without_being_read(api: Api, answer: dict[str, Any], expected: int | None) -> None:
    Server.answer = (200, answer)

    assert api.count(SERVICES) == expected
    assert (request()["path"], request()["query"]) == ("/api/v1/services", {"limit": "1"})


@pytest.mark.parametrize(
    ("call", "method", "content_type", "forced"),
    [
        pytest.param("create", "POST", "application/json", False, id="create"),
        pytest.param("apply", "PATCH", "application/apply-patch+yaml", True, id="apply"),
        pytest.param("patch", "PATCH", "application/merge-patch+json", False, id="patch"),
    ],
)
def test_writes(api: Api, call: str, method: str, content_type: str, *, forced: bool) -> None:
    manifest = {"apiVersion": "v1", "kind": "Service", **STORED}

    stored = api.patch(SERVICES, "svc", "default", manifest) if call == "patch" else getattr(api, call)(manifest)

    assert stored == STORED
    assert (request()["method"], request()["type"], request()["body"]) == (method, content_type, manifest)
    assert request()["query"].get("force") == ("true" if forced else None)
    assert request()["query"]["fieldManager"] == "session-affinity-conformance"


@pytest.mark.parametrize("kind", [PatchType.STRATEGIC, PatchType.JSON])
def test_patches_of_every_kind(api: Api, kind: PatchType) -> None:
    change = [{"op": "remove", "path": "/spec/sessionAffinity"}]

    api.patch(SERVICES, "svc", "default", change, kind)

    assert (request()["type"], request()["body"]) == (kind.value, change)


def test_a_reply_has_the_warnings(api: Api) -> None:
    Server.warnings = ('299 - "one"', '299 - "two"')

    reply = api.try_create({"apiVersion": "v1", "kind": "Service", **STORED}, dry_run=True)

    assert (reply.ok, reply.body, reply.warnings) == (True, STORED, ("one", "two"))
    assert request()["query"]["dryRun"] == "All"


def test_a_refusal_of_a_try_method_is_no_error(api: Api) -> None:
    Server.answer = (409, {"reason": "Conflict", "message": "by another"})

    reply = api.try_apply({"apiVersion": "v1", "kind": "Service", **STORED}, "someone")

    assert (reply.ok, reply.reason, reply.message) == (False, "Conflict", "by another")
    assert request()["query"] == {"fieldManager": "someone"}


def test_a_kind_of_another_project_is_created_with_its_resource(api: Api) -> None:
    api.create({"metadata": {"name": "x"}}, Resource("example.org/v1", "things", namespaced=False))

    assert request()["path"] == "/apis/example.org/v1/things"


def test_a_refusal_is_an_error_with_its_reason(api: Api) -> None:
    Server.answer = (422, {"message": "spec.sessionAffinityConfig: Invalid value: 0"})

    with pytest.raises(ApiError, match=r"PATCH .*services/svc: 422: spec\.sessionAffinityConfig") as refused:
        api.patch(SERVICES, "svc", "default", {})
    assert refused.value.status == 422


def test_a_refusal_in_plain_text_is_an_error_with_that_text(api: Api) -> None:
    Server.answer = (502, "no server behind this balancer")

    with pytest.raises(ApiError, match="502: no server behind this balancer"):
        api.server_version()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.kube.api._PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("answer", [(429, "busy"), (503, "starting"), (504, "late"), (500, "etcd: request timed out")])
def test_a_request_to_an_overloaded_server_is_repeated(api: Api, answer: tuple[int, str]) -> None:
    Server.first_answers = [answer, answer]

    assert api.get(SERVICES, "svc", "default") == STORED
    assert len(Server.requests) == 3


@pytest.mark.usefixtures("short_pauses")
def test_a_server_that_stays_overloaded_is_an_error(kubeconfig: Path) -> None:
    Server.answer = (503, "starting")

    with pytest.raises(ApiError, match="503: starting") as refused:
        Api(kubeconfig, request_seconds=0.1).get(SERVICES, "svc", "default")
    assert refused.value.status == 503
    assert len(Server.requests) > 1


@pytest.mark.usefixtures("short_pauses")
def test_a_conflict_of_a_repeated_creation_returns_the_object(api: Api) -> None:
    Server.first_answers = [(504, "late"), (409, "already exists")]

    assert api.create({"apiVersion": "v1", "kind": "Service", **STORED}) == STORED
    assert [entry["method"] for entry in Server.requests] == ["POST", "POST", "GET"]


def test_a_conflict_of_a_first_creation_is_an_error(api: Api) -> None:
    Server.answer = (409, "already exists")

    with pytest.raises(ApiError, match="409: already exists"):
        api.create({"apiVersion": "v1", "kind": "Service", **STORED})
    assert len(Server.requests) == 1


def test_deleting_an_object_that_does_not_exist_is_no_error(api: Api) -> None:
    Server.answer = (404, {"message": "not found"})

    api.delete(SERVICES, "svc", "default")


def test_deleting_a_protected_object_is_an_error(api: Api) -> None:
    Server.answer = (403, {"message": "forbidden"})

    with pytest.raises(ApiError, match="forbidden"):
        api.delete(SERVICES, "svc", "default")


def test_a_broken_connection_is_an_error_without_status(
    api: Api, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(_: Server) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(Server, "do_GET", break_off)
    monkeypatch.setattr(server, "handle_error", lambda *_: None)
    with pytest.raises(ApiError, match="no answer from the API") as lost:
        api.server_version()
    assert lost.value.status == 0


def test_threads_share_a_client_with_a_connection_for_each(api: Api) -> None:
    Server.answer = (200, {"gitVersion": "v1.37.2"})
    together = threading.Barrier(3)

    def send(_: int) -> str:
        together.wait(5)
        return api.server_version()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(send, range(3))) == ["v1.37.2"] * 3
    assert api._client() is api._client()
    assert api._client().configuration.connection_pool_maxsize >= 3
