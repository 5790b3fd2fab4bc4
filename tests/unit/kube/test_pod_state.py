"""Pods that will not run, and pods that may still become Ready."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from session_affinity.kube.pod_state import addresses, is_ready, trouble

pytestmark = pytest.mark.unit

NOW = datetime.datetime(2026, 11, 23, 16, 0, 10, tzinfo=datetime.UTC)


def pod(created: int = 0, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "webpod1", "creationTimestamp": f"2026-11-23T16:00:{created:02}Z"},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "mirror/x:1"}]},
        "status": status,
    }


def waiting(reason: str, **container: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "because"}}
    return {"containerStatuses": [{"name": "c", "image": "docker.io/x", "state": state, **container}]}


def unschedulable() -> dict[str, Any]:
    message = "0/4 nodes are available: 4 Insufficient memory."
    return {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
        "phase": "Pending",
    }


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(
            waiting("ImagePullBackOff"),
            "pod webpod1: image mirror/x:1 cannot be pulled on a: ImagePullBackOff: because",
            id="image",
        ),
        pytest.param(
            waiting("ErrImagePull"), "pod webpod1: image mirror/x:1 cannot be pulled on a: Err", id="first-pull"
        ),
        pytest.param(waiting("InvalidImageName"), "pod webpod1: image mirror/x:1 cannot be pulled", id="image-name"),
        pytest.param(
            waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 127}}),
            "pod webpod1: container c does not start on a: CrashLoopBackOff: because; exit code 127",
            id="crash",
        ),
        pytest.param(
            waiting("RunContainerError", restartCount=1),
            "pod webpod1: container c does not start on a: RunContainerError: because",
            id="not-run-twice",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "NodeAffinity", "message": "no"},
            "pod webpod1: failed on a: NodeAffinity: no",
            id="refused-by-the-node",
        ),
        pytest.param(unschedulable(), "pod webpod1: cannot be scheduled: 0/4 nodes are available", id="no-place"),
    ],
)
def test_a_pod_that_will_not_run_has_a_reason(status: dict[str, Any], message: str) -> None:
    assert trouble(pod(**status), NOW).startswith(message)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="new"),
        pytest.param(waiting("ContainerCreating"), id="creating"),
        pytest.param(waiting("RunContainerError", restartCount=0), id="not run once"),
        pytest.param({"conditions": [{"type": "PodScheduled", "status": "True"}]}, id="scheduled"),
    ],
)
def test_a_pod_that_may_still_become_ready_has_none(status: dict[str, Any]) -> None:
    assert trouble(pod(**status), NOW) == ""


def test_a_young_unschedulable_pod_has_no_reason_yet() -> None:
    assert trouble(pod(created=6, **unschedulable()), NOW) == ""


def test_a_pod_that_is_being_deleted_is_neither_ready_nor_in_trouble() -> None:
    deleted = pod(conditions=[{"type": "Ready", "status": "True"}], **waiting("ErrImagePull"))
    assert is_ready(deleted)
    deleted["metadata"]["deletionTimestamp"] = "now"

    assert not is_ready(deleted)
    assert trouble(deleted, NOW) == ""


def test_addresses_are_one_per_family_with_the_primary_first() -> None:
    assert addresses({"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}) == (
        "10.0.0.1",
        "fd00::1",
    )
    assert addresses({"status": {"podIP": "10.0.0.1"}}) == ("10.0.0.1",)
    assert addresses({}) == ()
