"""The API's client against a server in this process."""

from __future__ import annotations

import json
import threading
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
    """Answers with what it is told to, ``before`` that with other things; and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: a second would wait for the first to be acknowledged
    asked: list[dict[str, Any]]
    answer: tuple[int, Any]
    warnings: tuple[str, ...]
    before: list[tuple[int, Any]]

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.asked.append(
            {
                "method": self.command,
                "path": url.path,
                "query": {name: values[0] for name, values in parse_qs(url.query).items()},
                "type": self.headers.get("Content-Type"),
                "token": self.headers.get("Authorization"),
                "body": json.loads(self.rfile.read(length) or b"null"),
            }
        )
        status, said = self.before.pop(0) if self.before else self.answer
        content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
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
    Server.asked, Server.answer, Server.warnings, Server.before = [], (200, STORED), (), []
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
        "users": [{"name": "u", "user": {"token": "told"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def api(kubeconfig: Path) -> Api:
    return Api(kubeconfig, request_seconds=2)


def asked() -> dict[str, Any]:
    (only,) = Server.asked
    return only


def test_objects_come_as_they_are_stored(api: Api) -> None:
    assert api.get(SERVICES, "svc", "default") == STORED
    assert asked()["path"] == "/api/v1/namespaces/default/services/svc"
    assert asked()["token"] == "Bearer told"


def test_labels_select(api: Api) -> None:
    Server.answer = (200, {"items": None})

    assert api.objects(SERVICES, "default", labels="app=webpod") == []
    assert asked()["query"] == {"labelSelector": "app=webpod"}


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
    assert (asked()["method"], asked()["type"], asked()["body"]) == (method, content_type, manifest)
    assert asked()["query"].get("force") == ("true" if forced else None)
    assert asked()["query"]["fieldManager"] == "session-affinity-conformance"


@pytest.mark.parametrize("kind", [PatchType.STRATEGIC, PatchType.JSON])
def test_patches_of_every_kind(api: Api, kind: PatchType) -> None:
    change = [{"op": "remove", "path": "/spec/sessionAffinity"}]

    api.patch(SERVICES, "svc", "default", change, kind)

    assert (asked()["type"], asked()["body"]) == (kind.value, change)


def test_what_the_api_says_beside_its_answer_is_kept(api: Api) -> None:
    Server.warnings = ('299 - "one"', '299 - "two"')

    said = api.try_create({"apiVersion": "v1", "kind": "Service", **STORED}, dry_run=True)

    assert (said.ok, said.body, said.warnings) == (True, STORED, ("one", "two"))
    assert asked()["query"]["dryRun"] == "All"


def test_a_refusal_that_was_asked_about_is_no_error(api: Api) -> None:
    Server.answer = (409, {"reason": "Conflict", "message": "by another"})

    said = api.try_apply({"apiVersion": "v1", "kind": "Service", **STORED}, "someone")

    assert (said.ok, said.reason, said.message) == (False, "Conflict", "by another")
    assert asked()["query"] == {"fieldManager": "someone"}


def test_a_kind_of_another_project_is_created_where_its_resource_says(api: Api) -> None:
    api.create({"metadata": {"name": "x"}}, Resource("example.org/v1", "things", namespaced=False))

    assert asked()["path"] == "/apis/example.org/v1/things"


def test_a_refusal_says_why(api: Api) -> None:
    Server.answer = (422, {"message": "spec.sessionAffinityConfig: Invalid value: 0"})

    with pytest.raises(ApiError, match=r"PATCH .*services/svc: 422: spec\.sessionAffinityConfig") as refused:
        api.patch(SERVICES, "svc", "default", {})
    assert refused.value.status == 422


def test_a_refusal_in_plain_text_is_told_too(api: Api) -> None:
    Server.answer = (502, "no server behind this balancer")

    with pytest.raises(ApiError, match="502: no server behind this balancer"):
        api.server_version()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.kube.api._PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [(429, "busy"), (503, "starting"), (504, "late"), (500, "etcd: request timed out")])
def test_a_server_that_cannot_answer_now_is_asked_again(api: Api, answer: tuple[int, str]) -> None:
    Server.before = [answer, answer]

    assert api.get(SERVICES, "svc", "default") == STORED
    assert len(Server.asked) == 3


@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_can_is_told_of(kubeconfig: Path) -> None:
    Server.answer = (503, "starting")

    with pytest.raises(ApiError, match="503: starting") as refused:
        Api(kubeconfig, request_seconds=0.1).get(SERVICES, "svc", "default")
    assert refused.value.status == 503
    assert len(Server.asked) > 1


@pytest.mark.usefixtures("impatient")
def test_an_object_that_was_made_although_time_ran_out_is_the_one_asked_for(api: Api) -> None:
    Server.before = [(504, "late"), (409, "already exists")]

    assert api.create({"apiVersion": "v1", "kind": "Service", **STORED}) == STORED
    assert [one["method"] for one in Server.asked] == ["POST", "POST", "GET"]


def test_an_object_that_was_there_before_is_refused(api: Api) -> None:
    Server.answer = (409, "already exists")

    with pytest.raises(ApiError, match="409: already exists"):
        api.create({"apiVersion": "v1", "kind": "Service", **STORED})
    assert len(Server.asked) == 1


def test_deleting_what_is_gone_is_no_error(api: Api) -> None:
    Server.answer = (404, {"message": "not found"})

    api.delete(SERVICES, "svc", "default")


def test_deleting_what_is_protected_is_an_error(api: Api) -> None:
    Server.answer = (403, {"message": "forbidden"})

    with pytest.raises(ApiError, match="forbidden"):
        api.delete(SERVICES, "svc", "default")


def test_no_server_is_no_answer(api: Api, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(_: Server) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(Server, "do_GET", break_off)
    monkeypatch.setattr(server, "handle_error", lambda *_: None)
    with pytest.raises(ApiError, match="no answer from the API") as lost:
        api.server_version()
    assert lost.value.status == 0


def test_each_thread_has_a_client_of_its_own(api: Api) -> None:
    Server.answer = (200, {"gitVersion": "v1.37.2"})
    clients = []

    def ask() -> None:
        assert api.server_version() == "v1.37.2"
        clients.append(api._client())

    ask()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    first, second = clients
    assert first is not second
