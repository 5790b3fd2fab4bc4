"""The coordinator's pod and secret, and what a run does without them."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.agents.session import Secret
from session_affinity.clusters.external.coordinator import coordinating, wait_for_agents
from session_affinity.clusters.options import ClusterOptions
from session_affinity.deadlines import Deadlines
from session_affinity.kube.api import ApiError
from session_affinity.progress import Progress, quiet

pytestmark = pytest.mark.unit

OPTIONS = ClusterOptions(node_access="agent", agent_image="suite:1", deadlines=Deadlines(pods_ready=0.05))


class Api:
    """A cluster that starts the pod, unless it refuses the Secret; no coordinator runs in it."""

    def __init__(self, *, refuses: bool = False, ready: bool = True) -> None:
        self.refuses, self.ready = refuses, ready
        self.pods: dict[str, dict[str, Any]] = {}
        self.secrets: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        status = {"podIP": "10.10.1.9", "conditions": [{"type": "Ready", "status": str(self.ready)}]}
        self.pods[manifest["metadata"]["name"]] = {**manifest, "status": status}
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "7"}}

    def create(self, manifest: dict[str, Any]) -> None:
        if self.refuses:
            raise ApiError("POST: 403: may not create secrets", status=403)
        self.secrets.append(manifest)

    def objects(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return list(self.pods.values())

    def delete(self, _: object, name: str, namespace: str, *, grace_seconds: int) -> None:
        self.deleted.append(f"{namespace}/{name} {grace_seconds}")

    def channel(self, namespace: str, pod: str, argv: tuple[str, ...]) -> Any:
        raise ApiError(f"{namespace}/{pod}: {argv[0]}: not found")


def test_the_pod_is_restricted_and_the_secret_goes_with_it() -> None:
    api: Any = Api()
    with coordinating(api, "ns", "suite:1", OPTIONS, quiet()):
        pass

    (secret,) = api.secrets
    spec = api.pods["agent-coordinator"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "suite:1"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert "hostNetwork" not in spec
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "7"
    stored = Secret.parse(secret["stringData"]["run.json"])
    assert (stored.host, stored.port, len(stored.secret)) == ("10.10.1.9", 7475, 32)
    assert api.deleted == ["ns/agent-coordinator 0"]


@pytest.mark.parametrize(
    ("api", "reason"),
    [
        (Api(refuses=True), "may not create secrets"),
        (Api(ready=False), "waiting for pod ns/agent-coordinator to be Ready"),
        (Api(), "python3: not found"),
    ],
)
def test_where_there_is_no_coordinator_nodes_are_read_and_the_run_says_why(
    api: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with coordinating(api, "ns", "suite:1", OPTIONS, Progress()) as fleet:
        assert fleet is None

    output = " ".join(capsys.readouterr())
    assert "the agents do not judge, their nodes are read one by one" in output
    assert reason in output
    assert api.deleted == ["ns/agent-coordinator 0"]


def test_an_image_that_is_not_the_suites_needs_no_coordinator() -> None:
    api: Any = Api()
    with coordinating(api, "ns", None, OPTIONS, quiet()) as fleet:
        assert fleet is None
    assert api.pods == {}


def test_agents_that_do_not_come_are_named_with_where_to_look() -> None:
    class Fleet:
        def connected(self, _: float) -> dict[str, str]:
            return {"a": "agent-a"}

    fleet: Any = Fleet()
    absent = wait_for_agents(fleet, ["a", "b"], Deadlines(node_read=0.01))

    assert list(absent) == ["b"]
    assert "see the log of the agent's pod" in absent["b"]
