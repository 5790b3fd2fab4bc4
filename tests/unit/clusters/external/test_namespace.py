"""The namespace of a run, and which of those that were left may be removed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.external import lease, namespace, provider
from session_affinity.clusters.external.lease import EXPIRES, OWNER
from session_affinity.clusters.options import ClusterOptions
from session_affinity.clusters.state_directory import STATE_VARIABLE
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import SERVICE_ACCOUNTS
from session_affinity.progress import Progress, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit

HOLD = """
import sys
from filelock import FileLock

lock = FileLock(sys.argv[1])
lock.acquire()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the leases."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def live(runs: Path) -> Iterator[str]:
    """The namespace of a run that goes on in another process."""
    command = (sys.executable, "-c", HOLD, str(runs / "session-affinity-live.lock"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield "session-affinity-live"
        process.communicate()


class Notes(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Api:
    """Namespaces of a cluster; ``lasting`` is how many looks one survives after it was deleted."""

    def __init__(self, *found: dict[str, Any], lasting: int = 0, refuse: int = 0) -> None:
        self.found = list(found)
        self.lasting, self.refuse = lasting, refuse
        self.deleted: list[str] = []

    def objects(self, *_: object, labels: str) -> list[dict[str, Any]]:
        assert labels == "app.kubernetes.io/part-of=session-affinity-conformance"
        if self.refuse == 403:
            raise ApiError("forbidden", status=self.refuse)
        return self.found

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.refuse:
            raise ApiError("POST /api/v1/namespaces: 403: no", status=self.refuse)
        return manifest

    def delete(self, _: object, name: str) -> None:
        self.deleted.append(name)

    def get(self, resource: object, *_: object) -> dict[str, Any]:
        if resource is SERVICE_ACCOUNTS:
            return {}
        self.lasting -= 1
        if self.lasting < 0:
            raise ApiError("gone", status=404)
        return {"status": {"conditions": [{"status": "True", "message": "finalizers remain"}]}}


def left(name: str, expires: datetime | None = None, **meta: Any) -> dict[str, Any]:
    annotations = {OWNER: "process 7 on laptop", **({EXPIRES: expires.isoformat()} if expires else {})}
    return {"metadata": {"name": name, "creationTimestamp": "2026-11-23T16:00:00Z", "annotations": annotations, **meta}}


def test_what_ended_and_expired_runs_left_is_removed_and_the_rest_is_named(runs: Path, live: str) -> None:
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    (runs / "session-affinity-dead.lock").touch()
    api, progress = (
        Api(
            left("session-affinity-dead", future),
            left(live, past),
            left("session-affinity-old", past),
            left("session-affinity-away", future),
            left("session-affinity-anon", annotations=None),
            left("session-affinity-going", past, deletionTimestamp="now"),
            left("production", past),
        ),
        Notes(),
    )

    provider._remove_left_namespaces(api, progress)

    assert api.deleted == ["session-affinity-dead", "session-affinity-old"]
    assert [line.partition(":")[0].removeprefix("namespace session-affinity-") for line in progress.said] == [
        *("dead", "live", "old", "away", "anon"),
    ]
    assert "left by a run of this machine that was killed" in progress.said[0]
    assert not (runs / "session-affinity-dead.lock").exists()
    assert f"expired {past.isoformat()}, created 2026-11-23T16:00:00Z by process 7 on laptop" in progress.said[2]
    assert "may be in use until " in progress.said[3]
    assert "by process 7 on laptop; left alone" in progress.said[3]
    assert "kubectl delete namespace session-affinity-anon" in progress.said[4]


def test_a_lease_is_held_while_the_run_goes_on(runs: Path) -> None:
    name = "session-affinity-own"
    with lease.lease(name):
        assert lease.state_of(left(name)) is lease.RunState.UNKNOWN
        assert (runs / f"{name}.lock").exists()
    assert not list(runs.iterdir())


def test_a_run_without_a_directory_to_write_to_goes_on(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    (runs / "file").touch()
    monkeypatch.setenv(STATE_VARIABLE, str(runs / "file"))

    with lease.lease("session-affinity-own"):
        pass


def test_a_user_who_may_not_list_namespaces_gets_a_note() -> None:
    progress = Notes()

    provider._remove_left_namespaces(Api(refuse=403), progress)

    assert progress.said == ["namespaces of earlier runs were not looked for: forbidden"]


def test_the_namespace_says_what_it_admits_and_has_the_labels_of_the_options() -> None:
    name = namespace.new_name()
    made = namespace.manifest(
        name, namespace.RESTRICTED, {"note": "text"}, {"team": "a", "istio-injection": "disabled"}
    )

    assert name.startswith("session-affinity-")
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "session-affinity-conformance",
        "pod-security.kubernetes.io/enforce": "restricted",
        "team": "a",
        "istio-injection": "disabled",
    }
    assert made["metadata"]["annotations"] == {"note": "text"}


def test_everything_of_a_run_has_its_id_its_process_and_its_expiry() -> None:
    annotations = lease.run_annotations("session-affinity-run")

    assert annotations[lease.RUN] == "session-affinity-run"
    assert annotations[OWNER] == f"process {os.getpid()} on {socket.gethostname()}"
    assert (
        timedelta(hours=5)
        < datetime.fromisoformat(annotations[EXPIRES]) - datetime.now(UTC)
        <= timedelta(seconds=DEFAULTS.namespace_lifetime)
    )


def test_names_differ() -> None:
    assert len({namespace.new_name() for _ in range(20)}) == 20


def test_a_user_who_may_not_create_namespaces_is_told_what_it_takes() -> None:
    with pytest.raises(
        ClusterError,
        match=r"no permission to create a namespace: .*403.*\n  next: .*`session-affinity rbac`.*--namespace",
    ):
        namespace.create(Api(refuse=403), namespace.manifest("n", namespace.RESTRICTED))


def test_removal_waits_until_the_namespace_is_gone() -> None:
    api = Api(lasting=2)

    namespace.remove(api, "n", quiet())

    assert (api.deleted, api.lasting) == (["n"], -1)


def test_a_namespace_that_does_not_go_is_named_with_what_holds_it() -> None:
    with pytest.raises(
        ClusterError, match=r"namespace n was deleted and is still there .*: finalizers remain\n.*kubectl get all -n n"
    ):
        namespace.remove(Api(lasting=10**6), "n", quiet(), deadlines=Deadlines(namespace_removal=0.06))


@pytest.mark.parametrize(
    ("refuse", "error", "removed"),
    [
        pytest.param(403, namespace.NamespaceRefusedError, 0, id="refused"),
        pytest.param(500, ApiError, 1, id="unknown-whether-it-was-made"),
    ],
)
def test_what_was_refused_is_not_removed(refuse: int, error: type[Exception], removed: int) -> None:
    api = Api(refuse=refuse)

    with pytest.raises(error), provider._workspace(api, "session-affinity-x", ClusterOptions(), quiet()):
        pytest.fail("there is no namespace")
    assert len(api.deleted) == removed


def test_an_error_and_an_interrupt_of_the_run_remove_the_namespace() -> None:
    for what in (RuntimeError, KeyboardInterrupt):
        api = Api()
        with (
            pytest.raises(what),
            provider._workspace(api, "session-affinity-x", ClusterOptions(), quiet()) as (name, _),
        ):
            raise what
        assert api.deleted == [name]
