"""``session-affinity inspect`` on an embedded cluster: a healthy Service, and four with a trouble each."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.model import SERVICE_NAME_LABEL, ServiceState
from session_affinity.kube.api import Api
from session_affinity.kube.resources import ENDPOINT_SLICES, NAMESPACES, NODES, PODS, SERVICES
from session_affinity.nodes.nodes import Nodes
from session_affinity.waiting import wait_until
from tests.integration.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "inspect"
NAMESPACE = "default"
CONTROL_PLANE = f"{NAME}-control-plane"
WORKERS = tuple(f"{NAME}-worker{number}" for number in ("", 2, 3))
CONNECTIONS = 12
"""More than one user who tries a Service out makes."""


@dataclass(frozen=True)
class Inspected:
    """What the command printed as JSON, and its exit code."""

    code: int
    document: dict[str, Any]

    @property
    def diagnoses(self) -> dict[str, dict[str, Any]]:
        """The diagnoses by id."""
        return {diagnosis["id"]: diagnosis for diagnosis in self.document["diagnoses"]}

    @property
    def rules(self) -> dict[str, str]:
        """The state of each node's rules."""
        return {node["name"]: node["rules"] for node in self.document["nodes"]}


@dataclass(frozen=True)
class Shop:
    """A kept cluster with the sample pods, and the Services of a user in it."""

    cluster: clusters.EmbeddedCluster
    api: Api

    def run(self, service: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command on the cluster as a user would."""
        argv = (
            sys.executable, "-m", "session_affinity", "inspect", f"{NAMESPACE}/{service}", "--cluster", "embedded",
            "--cluster-name", NAME, *options,
        )  # fmt: skip
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    def inspect(self, service: str) -> Inspected:
        """Inspect a Service."""
        done = self.run(service, "-o", "json")
        assert done.stdout, done.stderr
        return Inspected(done.returncode, json.loads(done.stdout))

    def create(self, name: str, labels: dict[str, str] | None, **spec: Any) -> ServiceState:
        """Create a Service with ClientIP and wait until its endpoints and all nodes' rules are as they should be."""
        port = {"name": "web", "port": 80, "targetPort": 80}
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "ports": [port],
                    "sessionAffinity": "ClientIP",
                    **({"selector": labels} if labels else {}),
                    **spec,
                },
            }
        )
        return self.wait(name) if labels else ServiceState.from_objects(self.api.get(SERVICES, name, NAMESPACE), [])

    def wait(self, name: str) -> ServiceState:
        """Wait until a Service has endpoints and every node its rules, and return it."""
        nodes = Nodes(self.cluster.nodes)
        backend = BACKENDS[self.cluster.proxy_configs.mode]

        def programmed() -> ServiceState | None:
            state = ServiceState.from_objects(*self.api.service_with_slices(NAMESPACE, name))
            configs = self.cluster.proxy_configs
            ready = state.endpoints and not any(
                backend.compare(snapshot, state, configs.of(node)) for node, snapshot in nodes.read().items()
            )
            return state if ready else None

        return wait_until(programmed, 30, what=f"Service {name} on every node")

    def request(self, pod: str, address: str, port: int, count: int = 1) -> None:
        """Send requests from a pod, each on a new connection."""
        loop = f'for i in $(seq {count}); do curl -s -o /dev/null -m 5 "http://{address}:{port}/" || exit 1; done'
        done = self.api.exec(NAMESPACE, pod, ("sh", "-c", loop), timeout=60)
        assert done.returncode == 0, done

    def pod(self, name: str, template: str, node: str, labels: dict[str, str], *containers: dict[str, Any]) -> None:
        """Run a pod made from a sample pod; ``containers`` are added to its own."""
        text = (ROOT / "manifests" / template).read_text().replace("myk8s", NAME)
        pod = dict(self.cluster.adapt(next(yaml.safe_load_all(text))))
        spec = {**pod["spec"], "nodeName": node}
        image = spec["containers"][0]["image"]
        spec["containers"] = [*spec["containers"], *({"image": image, **container} for container in containers)]
        self.api.create({**pod, "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": spec})

    def wait_for_pods(self) -> None:
        """Wait until all pods are Ready."""

        def all_ready() -> bool:
            conditions = [pod["status"].get("conditions") or () for pod in self.api.objects(PODS, NAMESPACE)]
            return all(any(each["type"] == "Ready" and each["status"] == "True" for each in pod) for pod in conditions)

        wait_until(all_ready, 60, what="the pods")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A cluster with three endpoints, one on each worker, and a client on every worker."""
    directory = tmp_path_factory.mktemp("inspect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(directory / "state"))
        command = (sys.executable, "-m", "session_affinity", "cluster")
        subprocess.run((*command, "up", "--name", NAME), cwd=ROOT, check=True, capture_output=True, timeout=240)
        try:
            cluster = clusters.find(NAME)
            assert cluster is not None
            made = Shop(cluster, Api(cluster.kubeconfig))
            for number, node in enumerate(WORKERS, 1):
                made.pod(f"webpod{number}", "webpods.yaml", node, {"app": "webpod"})
                made.pod(f"client{number}", "net-pod.yaml", node, {"app": "client"})
            made.wait_for_pods()
            yield made
        finally:
            clusters.down(NAME)


def test_a_healthy_service_shows_its_clients_and_their_endpoints(shop: Shop) -> None:
    """Three clients on three nodes, each with its pod's name, its endpoint, and the time it stays bound."""
    state = shop.create("healthy", {"app": "webpod"})
    for number in (1, 2, 3):
        shop.request(f"client{number}", state.cluster_ips[0], 80, number)

    inspected = shop.inspect("healthy")
    text = shop.run("healthy")

    assert inspected.code == text.returncode == 0, inspected.document
    assert inspected.document["verdict"] == "works"
    assert set(inspected.rules.values()) == {"as expected"}
    assert inspected.rules.keys() == {CONTROL_PLANE, *WORKERS}
    clients = inspected.document["clients"]
    assert {(client["name"], client["node"], client["connections"]) for client in clients} == {
        (f"{NAMESPACE}/client{number}", node, number) for number, node in enumerate(WORKERS, 1)
    }
    for client in clients:
        assert 0 <= client["lastConnectionSecondsAgo"] < 60
        assert client["lastConnectionSecondsAgo"] + client["secondsLeft"] == pytest.approx(10800, abs=0.1)
    assert sum(share["clients"] for share in inspected.document["spread"]) == 3
    assert {store["capacity"] for store in inspected.document["stores"]} == {100}
    assert inspected.document["seconds"] < 3
    assert "all 4 nodes have the expected rules" in text.stdout
    assert f"pod {NAMESPACE}/client1" in text.stdout
    assert len(text.stdout.splitlines()) < 40


def test_a_headless_service_is_named_as_such(shop: Shop) -> None:
    """Its nodes have no rules, as they should, and affinity cannot work."""
    shop.create("headless", {"app": "webpod"}, clusterIP="None")

    inspected = shop.inspect("headless")

    assert inspected.code == 1
    assert list(inspected.diagnoses) == ["headless"]
    assert set(inspected.rules.values()) == {"as expected"}


def test_a_node_with_a_broken_rule_is_named_with_the_rule(shop: Shop) -> None:
    """One affinity rule is deleted on one node; kube-proxy does not notice."""
    shop.create("broken", {"app": "webpod"})
    nodes = Nodes(shop.cluster.nodes)
    listing = nodes.run(WORKERS[1], ("iptables", "-t", "nat", "-S")).check().stdout.splitlines()
    rule = next(line for line in listing if "--rcheck" in line and "default/broken:web" in line)
    chain = rule.split()[1]
    position = [line for line in listing if line.startswith(f"-A {chain} ")].index(rule) + 1
    nodes.run(WORKERS[1], ("iptables", "-t", "nat", "-D", chain, str(position))).check()

    inspected = shop.inspect("broken")

    assert inspected.code == 1
    assert inspected.rules == {
        CONTROL_PLANE: "as expected", WORKERS[0]: "as expected", WORKERS[1]: "differ", WORKERS[2]: "as expected",
    }  # fmt: skip
    assert list(inspected.diagnoses) == ["rules-differ"]
    assert "C15" in inspected.diagnoses["rules-differ"]["claims"]
    assert f"{WORKERS[1]} {chain}: no affinity rule" in inspected.diagnoses["rules-differ"]["evidence"][0]


def test_clients_behind_one_address_are_seen_as_one(shop: Shop) -> None:
    """Two pods enter by a node port of one node, which leads to the Service's node port of another with its address."""
    state = shop.create("behind", {"app": "webpod"}, type="NodePort", externalTrafficPolicy="Cluster")
    addresses = {
        node["metadata"]["name"]: node["status"]["addresses"][0]["address"] for node in shop.api.objects(NODES)
    }
    front = shop.create("front", None, type="NodePort", sessionAffinity="None")
    shop.api.create(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "front", "namespace": NAMESPACE, "labels": {SERVICE_NAME_LABEL: "front"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [addresses[WORKERS[2]]], "conditions": {"ready": True}}],
            "ports": [{"name": "web", "protocol": "TCP", "port": state.ports[0].node_port}],
        },
        ENDPOINT_SLICES,
    )
    shop.wait("front")
    for pod in ("client1", "client3"):
        shop.request(pod, addresses[WORKERS[1]], front.ports[0].node_port, CONNECTIONS)

    inspected = shop.inspect("behind")

    assert inspected.code == 0  # rules are right and affinity works, for one client
    assert set(inspected.rules.values()) == {"as expected"}
    (client,) = inspected.document["clients"]
    assert (client["kind"], client["name"], client["node"]) == ("node", WORKERS[1], WORKERS[2])
    assert client["connections"] == 2 * CONNECTIONS
    assert list(inspected.diagnoses) == ["shared-address"]
    assert inspected.diagnoses["shared-address"]["claims"] == ["C33"]


def test_a_proxy_in_an_endpoints_pod_is_found(shop: Shop) -> None:
    """A container with the name that Istio's injector gives its proxy, and no client on any node."""
    proxy = {"name": "istio-proxy", "command": ["sleep", "infinity"]}
    shop.pod("meshed", "net-pod.yaml", WORKERS[0], {"app": "meshed"}, proxy)
    shop.wait_for_pods()
    shop.create("mesh", {"app": "meshed"})

    inspected = shop.inspect("mesh")

    assert inspected.code == 1
    assert list(inspected.diagnoses) == ["mesh"]
    assert inspected.diagnoses["mesh"]["severity"] == "broken"
    assert "endpoint meshed: istio-proxy (Istio)" in inspected.diagnoses["mesh"]["evidence"]


def test_without_access_to_nodes_the_answer_is_undetermined(shop: Shop) -> None:
    """The API alone shows no trouble, and creates nothing: no namespace is made."""
    shop.create("api-only", {"app": "webpod"})
    argv = (sys.executable, "-m", "session_affinity", "inspect", "api-only", "--kubeconfig", shop.cluster.kubeconfig)
    before = len(shop.api.objects(NAMESPACES))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 10, done.stdout + done.stderr
    assert "nothing runs on the nodes without --node-access agent" in done.stdout
    assert len(shop.api.objects(NAMESPACES)) == before


def test_a_service_that_is_not_there_is_a_usage_error(shop: Shop) -> None:
    """The message names a similar one."""
    shop.create("cart", {"app": "webpod"})

    done = shop.run("crat")

    assert done.returncode == 4
    assert "there is no Service crat in namespace default" in done.stderr
    assert "did you mean cart?" in done.stderr
