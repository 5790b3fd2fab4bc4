"""The node agent: its rights, and the errors when it does not run."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.clusters.external import agent
from session_affinity.clusters.external.agent import AgentNode
from session_affinity.clusters.external.images import ImageSource
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NodeError, NotReadyError
from session_affinity.kube.api import ApiError
from session_affinity.kube.pod_exec import ExecError
from session_affinity.kube.pod_shell import ShellResult
from session_affinity.kube.resources import EVENTS

pytestmark = pytest.mark.unit


def pod(node: str, *, ready: bool = True, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting, "message": "no route to registry"}} if waiting else {}
    return {
        "metadata": {"name": f"agent-{node}"},
        "spec": {"nodeName": node, "containers": [{"name": "agent", "image": "mirror/netshoot"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "agent", "state": state}],
        },
    }


class Api:
    """A cluster whose controller makes these pods, look by look."""

    def __init__(self, *looks: list[dict[str, Any]], events: list[dict[str, Any]] | None = None) -> None:
        self.looks, self.events = list(looks), events or []
        self.applied: list[dict[str, Any]] = []
        self.refuses = False

    def apply(self, manifest: dict[str, Any]) -> None:
        if self.refuses:
            raise ApiError("PATCH: 403: violates PodSecurity", status=403)
        self.applied.append(manifest)

    def objects(self, resource: object, *_: object, **__: object) -> list[dict[str, Any]]:
        if resource is EVENTS:
            return self.events
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def shell(self, namespace: str, pod: str) -> str:
        return f"{namespace}/{pod}"


def test_the_agent_has_the_rights_it_needs_and_no_other() -> None:
    account, daemon = agent.manifests("ns")
    spec = daemon["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert account["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["hostNetwork"] is True
    assert not {"hostPID", "hostIPC", "volumes"} & spec.keys()
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert {manifest["metadata"]["namespace"] for manifest in (account, daemon)} == {"ns"}


def test_an_agent_that_judges_has_the_secret_and_no_other_right() -> None:
    _, reading = agent.manifests("ns", image="suite:1")
    _, judging = agent.manifests("ns", image="suite:1", judges=True)
    before, after = (each["spec"]["template"]["spec"] for each in (reading, judging))
    (container,) = after["containers"]

    assert container["securityContext"] == before["containers"][0]["securityContext"]
    assert "ports" not in container
    assert after["volumes"] == [{"name": "run", "secret": {"secretName": "agent-coordinator", "defaultMode": 0o400}}]
    assert {name: value for name, value in after.items() if name not in ("containers", "volumes")} == {
        name: value for name, value in before.items() if name != "containers"
    }


def test_access_is_there_when_every_node_has_its_agent() -> None:
    api = Api([], [pod("a")], [pod("a"), pod("b", ready=False)], [pod("a"), pod("b"), pod("not-selected")])

    agents = agent.start(api, "ns", ["b", "a"], ImageSource("mirror", tags=True))

    assert {name: node.shell for name, node in agents.nodes.items()} == {"a": "ns/agent-a", "b": "ns/agent-b"}
    assert (agents.missing, agents.namespace) == ({}, "ns")
    assert api.applied[1]["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror/nicolaka/netshoot:v0.15"


def test_an_image_that_no_node_has_is_named_without_waiting() -> None:
    api = Api([pod("a", ready=False, waiting="ErrImagePull"), pod("b", ready=False, waiting="ErrImagePull")])

    with pytest.raises(
        NotReadyError, match=r"image mirror/netshoot cannot be .* on a: .*\(and 1 more\)\n.*--image-reg"
    ):
        agent.start(api, "ns", ["a", "b"])


def test_no_agent_at_all_is_an_error() -> None:
    with pytest.raises(NotReadyError, match="no node agent is Ready in namespace ns: a: its agent was not Ready after"):
        agent.start(Api([pod("a", ready=False)]), "ns", ["a", "b"], deadlines=Deadlines(agents_ready=0.05))


def test_nodes_whose_agents_are_late_or_fail_are_missing_and_the_others_stand() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c", ready=False, waiting="ErrImagePull")]

    agents = agent.start(Api(pods), "ns", ["a", "b", "c"], deadlines=Deadlines(agents_ready=0.05))

    assert list(agents.nodes) == ["a"]
    assert agents.missing["b"].startswith("its agent was not Ready after")
    assert "image mirror/netshoot" in agents.missing["c"]


def test_an_injected_container_is_named() -> None:
    injected = pod("a")
    injected["spec"]["containers"].append({"name": "istio-proxy", "image": "proxyv2"})

    with pytest.raises(ClusterError, match=r"something added istio-proxy \(proxyv2\) to pod agent-a"):
        agent.start(Api([injected]), "ns", ["a"])


def test_a_cluster_that_refuses_the_object_or_its_pods_says_why() -> None:
    refusing = Api([])
    refusing.refuses = True
    with pytest.raises(ClusterError, match=r"refuses the node agent: .*PodSecurity\n  next: run without"):
        agent.start(refusing, "ns", ["a"])

    events = [{"reason": "FailedCreate", "involvedObject": {"kind": "DaemonSet"}, "message": "exceeded quota"}]
    with pytest.raises(ClusterError, match="refuses the pods of the node agent: exceeded quota"):
        agent.start(Api([], events=events), "ns", ["a"], deadlines=Deadlines(agents_refused=0))


class Shell:
    """Ends a command, or fails to."""

    def run(self, argv: list[str], **_: object) -> ShellResult:
        if argv == ["lost"]:
            raise ExecError("ns/agent-a: the connection was lost", next_step="look")
        return ShellResult(3, "out", "err")


def test_a_command_on_a_node_ends_as_on_any_other() -> None:
    done = AgentNode("a", Shell()).run(["x"])

    assert (done.node, done.argv, done.returncode, done.stdout, done.stderr) == ("a", ("x",), 3, "out", "err")


def test_a_node_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(NodeError, match=r"a: ns/agent-a: the connection was lost\n  next: look"):
        AgentNode("a", Shell()).run(["lost"])
