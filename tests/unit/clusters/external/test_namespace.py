"""The namespace of a run, and which of those that were left may be removed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import Any

import pytest

from session_affinity.clusters.external import namespace, provider
from session_affinity.clusters.external.namespace import OWNER, Owner, owner_of
from session_affinity.clusters.options import ClusterOptions
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import SERVICE_ACCOUNTS
from session_affinity.progress import Progress, quiet

pytestmark = pytest.mark.unit

HERE = Owner.of_this_run()
GONE = replace(HERE, pid=2**22 + 1)  # above the highest number of a process


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
        if self.refuse:
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


def left(name: str, owner: Owner | None, **meta: Any) -> dict[str, Any]:
    annotations = {OWNER: json.dumps(asdict(owner))} if owner else {}
    return {"metadata": {"name": name, "creationTimestamp": "2026-11-23T16:00:00Z", "annotations": annotations, **meta}}


@pytest.mark.parametrize(
    ("owner", "ended"),
    [
        pytest.param(HERE, False, id="this-run"),
        pytest.param(replace(HERE, pid=os.getppid(), started=HERE.started + 1), True, id="number-taken-by-another"),
        pytest.param(GONE, True, id="no-such-process"),
        pytest.param(replace(GONE, boot="another"), False, id="another-machine-or-boot"),
        pytest.param(replace(GONE, pid_namespace=1), False, id="another-container"),
    ],
)
def test_a_run_has_ended_only_where_this_machine_can_tell(owner: Owner, *, ended: bool) -> None:
    assert owner.has_ended() is ended


def test_only_what_a_dead_run_of_this_machine_left_is_removed_and_the_rest_is_named() -> None:
    elsewhere = replace(GONE, boot="another", host="laptop", pid=7)
    api, progress = (
        Api(
            left("session-affinity-dead", GONE),
            left("session-affinity-live", replace(HERE, pid=1, started=namespace._started(1) or 0)),
            left("session-affinity-away", elsewhere),
            left("session-affinity-anon", None),
            left("session-affinity-going", GONE, deletionTimestamp="now"),
            left("production", GONE),
        ),
        Notes(),
    )

    namespace.remove_leftovers(api, progress)

    assert api.deleted == ["session-affinity-dead"]
    assert [line.partition(":")[0].removeprefix("namespace session-affinity-") for line in progress.said] == [
        "dead",
        "live",
        "away",
        "anon",
    ]
    assert "by process 7 on laptop, may be in use and is left alone" in progress.said[2]
    assert "kubectl delete namespace session-affinity-anon" in progress.said[3]


def test_a_user_who_may_not_list_namespaces_gets_a_note() -> None:
    progress = Notes()

    namespace.remove_leftovers(Api(refuse=403), progress)

    assert progress.said == ["namespaces of earlier runs were not looked for: forbidden"]


def test_the_namespace_says_whose_it_is_and_what_it_admits() -> None:
    name = namespace.new_name()
    made = namespace.manifest(name, namespace.BASELINE)

    assert name.startswith("session-affinity-")
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "session-affinity-conformance",
        "pod-security.kubernetes.io/enforce": "baseline",
    }
    assert owner_of(made) == HERE


def test_names_differ() -> None:
    assert len({namespace.new_name() for _ in range(20)}) == 20


def test_a_user_who_may_not_create_namespaces_is_told_what_it_takes() -> None:
    with pytest.raises(
        ClusterError, match=r"no permission to create a namespace: .*403.*\n  next: .*create, get, list"
    ):
        namespace.create(Api(refuse=403), "n", namespace.BASELINE)


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
        pytest.param(403, namespace.RefusedError, 0, id="refused"),
        pytest.param(500, ApiError, 1, id="unknown-whether-it-was-made"),
    ],
)
def test_what_was_refused_is_not_removed(refuse: int, error: type[Exception], removed: int) -> None:
    api = Api(refuse=refuse)

    with pytest.raises(error), provider._namespace(api, ClusterOptions(), quiet()):
        pytest.fail("there is no namespace")
    assert len(api.deleted) == removed


def test_an_error_and_an_interrupt_of_the_run_remove_the_namespace() -> None:
    for what in (RuntimeError, KeyboardInterrupt):
        api = Api()
        with pytest.raises(what), provider._namespace(api, ClusterOptions(), quiet()) as name:
            raise what
        assert api.deleted == [name]
