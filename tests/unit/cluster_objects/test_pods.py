"""The sample pods on clusters with other names, and the pods that tests create."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from fixtures.pods import NAMESPACE, on_cluster, sample_manifests
from session_affinity.cluster_objects.pods import PodRequest, Pods, Role, manifest
from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, NotReadyError, UsageError
from session_affinity.kube.resources import EVENTS
from session_affinity.traffic.client import Client, client_in

if TYPE_CHECKING:
    from session_affinity.kube.api import Api
    from session_affinity.kube.resources import Resource

SAMPLES = {pod["metadata"]["name"]: pod for pod in sample_manifests()}
TEMPLATES = {Role.CLIENT: SAMPLES["net-pod"], Role.ENDPOINT: SAMPLES["webpod1"]}
POD: dict[str, Any] = {"metadata": {"name": "webpod2"}, "spec": {"nodeName": "myk8s-worker2", "containers": []}}


def test_a_pod_stays_on_its_node() -> None:
    assert on_cluster(POD, "myk8s", ["myk8s-worker", "myk8s-worker2"])["spec"]["nodeName"] == "myk8s-worker2"


def test_the_node_of_a_pod_is_renamed_for_the_cluster() -> None:
    placed = on_cluster(POD, "other", ["other-worker", "other-worker2"])

    assert placed["spec"]["nodeName"] == "other-worker2"
    assert placed["metadata"] == {"name": "webpod2", "namespace": NAMESPACE}
    assert POD["spec"]["nodeName"] == "myk8s-worker2"


def test_a_cluster_without_the_node_is_refused() -> None:
    with pytest.raises(UsageError, match=r"pod webpod2 runs on node small-worker2, but the cluster has small-worker"):
        on_cluster(POD, "small", ["small-worker"])


def test_the_manifests_have_three_endpoints_and_a_client() -> None:
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in sample_manifests()}

    assert nodes == {
        "webpod1": "myk8s-worker",
        "webpod2": "myk8s-worker2",
        "webpod3": "myk8s-worker3",
        "net-pod": "myk8s-control-plane",
    }


def test_a_requested_pod_has_labels_and_a_name() -> None:
    request = PodRequest("scaled", (Role.ENDPOINT,), {"app": "scaled"})

    pod = manifest("affinity-scaled-1", "default", request, TEMPLATES)

    assert pod["metadata"] == {
        "name": "affinity-scaled-1",
        "namespace": "default",
        "labels": {
            "app": "scaled",
            "app.kubernetes.io/part-of": "session-affinity-conformance",
            "app.kubernetes.io/component": "pod-of-a-test",
        },
    }
    assert "nodeName" not in pod["spec"]
    assert pod["spec"]["containers"][0]["image"] == TEMPLATES[Role.ENDPOINT]["spec"]["containers"][0]["image"]


def test_a_requested_pod_may_be_client_and_endpoint_at_once() -> None:
    request = PodRequest("both", (Role.ENDPOINT, Role.CLIENT), node="myk8s-worker", spec={"hostNetwork": True})

    spec = manifest("affinity-both-1", "default", request, TEMPLATES)["spec"]

    assert [container["name"] for container in spec["containers"]] == ["endpoint", "client"]
    assert (spec["nodeName"], spec["hostNetwork"]) == ("myk8s-worker", True)
    assert "hostNetwork" not in TEMPLATES[Role.ENDPOINT]["spec"]


def test_the_command_of_a_role_may_be_replaced() -> None:
    request = PodRequest("answers", (Role.CLIENT, Role.ENDPOINT), commands={Role.CLIENT: ("sh", "-c", "exec socat")})

    client, endpoint = manifest("affinity-answers-1", "default", request, TEMPLATES)["spec"]["containers"]

    assert (client["command"], client["args"]) == (["sh", "-c", "exec socat"], [])
    assert "command" not in endpoint


@pytest.mark.parametrize(("roles", "container"), [((Role.CLIENT,), ""), ((Role.ENDPOINT, Role.CLIENT), "client")])
def test_in_a_pod_with_several_containers_the_client_is_the_one_with_its_role(
    roles: tuple[Role, ...], container: str
) -> None:
    pod = manifest("affinity-both-1", "default", PodRequest("both", roles, node="worker"), TEMPLATES)
    pod["status"] = {"podIP": "10.10.1.9", "podIPs": [{"ip": "10.10.1.9"}]}

    client = client_in(cast("Api", None), pod)

    assert (client.container, client.address, client.node) == (container, "10.10.1.9", "worker")


def test_short_timeouts_are_a_quarter_of_the_usual_ones() -> None:
    client = Client(cast("Api", None), "default", "net-pod", "10.10.0.2", "control-plane", DEFAULTS.scaled(2))

    assert (client.timeouts.connect, client.with_short_timeouts.timeouts.connect) == (4, 1)
    assert client.with_short_timeouts.deadlines.scale == 2


class OnePodApi:
    """Stores one pod with a given status."""

    def __init__(self, *events: tuple[str, str], **status: Any) -> None:
        self.status = status
        self.events = events
        self.pods: list[dict[str, Any]] = []

    def create(self, pod: dict[str, Any]) -> dict[str, Any]:
        self.pods.append({**pod, "status": self.status})
        return self.pods[-1]

    def objects(self, resource: Resource, *_: object) -> list[dict[str, Any]]:
        if resource is not EVENTS:
            return self.pods
        event = {"involvedObject": {"name": self.pods[0]["metadata"]["name"]}}
        return [event | {"lastTimestamp": at, "message": message} for at, message in self.events]


def test_a_ready_pod_is_returned_as_stored() -> None:
    api: Any = OnePodApi(conditions=[{"type": "Ready", "status": "True"}], podIP="10.10.1.7")

    (pod,) = Pods(api, "default", TEMPLATES, lambda pod: pod).run(PodRequest("one", (Role.CLIENT,)))

    assert pod["status"]["podIP"] == "10.10.1.7"


def test_a_pod_that_will_not_run_is_not_waited_for() -> None:
    api: Any = OnePodApi(phase="Failed", reason="Evicted")

    with pytest.raises(NotReadyError, match="failed: Evicted"):
        Pods(api, "default", TEMPLATES, lambda pod: pod).run(PodRequest("one", (Role.CLIENT,)))


@pytest.mark.parametrize(
    ("events", "state"),
    [((), "Pending"), ((("12:00:02", "Pulling image"), ("12:00:01", "Assigned")), "Pending: Pulling image")],
    ids=["no-events", "events"],
)
def test_a_late_pod_is_an_error_with_its_phase_and_last_event(events: tuple[tuple[str, str], ...], state: str) -> None:
    api: Any = OnePodApi(*events, phase="Pending")
    pods = Pods(api, "default", TEMPLATES, lambda pod: pod, deadlines=Deadlines(pods_ready=0))

    with pytest.raises(
        NotReadyError,
        match=rf"pods .* to be Ready: affinity-one-\w+; last state: not Ready: affinity-one-\w+ \({state}\)",
    ):
        pods.run(PodRequest("one", (Role.CLIENT,)))


@pytest.mark.parametrize("field", ["containers", "initContainers"])
def test_a_container_that_was_not_requested_is_an_error_that_names_it(field: str) -> None:
    class InjectingApi(OnePodApi):
        def create(self, pod: dict[str, Any]) -> dict[str, Any]:
            spec = pod["spec"]
            injected = {"name": "istio-proxy", "image": "proxyv2:1.30"}
            return {**pod, "spec": {**spec, field: [*spec.get(field, ()), injected]}}

    pods = Pods(InjectingApi(), "team", TEMPLATES, lambda pod: pod)

    with pytest.raises(
        ClusterError, match=r"added istio-proxy \(proxyv2:1.30\) to pod affinity-one.*\n  next: exempt namespace team"
    ):
        pods.run(PodRequest("one", (Role.CLIENT,)))
