"""What is read to recognise a dataplane: it is what `session-affinity rbac` prints, and a refusal costs a name only."""

from __future__ import annotations

import json
from typing import Any

from session_affinity.clusters.external import rbac
from session_affinity.clusters.options import ClusterOptions
from session_affinity.clusters.recognition import recognise
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import NODES, Resource


class StoredObjects:
    """An API that has these objects, and refuses all kinds in ``refused``; notes what was asked for by name."""

    def __init__(self, objects: dict[str, Any], groups: tuple[str, ...] = (), refused: tuple[str, ...] = ()) -> None:
        self._objects = objects
        self._groups = groups
        self._refused = refused
        self.read: list[tuple[str, str, str, str]] = []

    def text(self, path: str) -> str:
        if "groups" in self._refused:
            raise ApiError(f"GET {path}: forbidden", status=403)
        return json.dumps({"groups": [{"name": name} for name in self._groups]})

    def objects(self, resource: Resource) -> list[Any]:
        assert resource is NODES
        if resource.plural in self._refused:
            raise ApiError("GET /api/v1/nodes: forbidden", status=403)
        return [{"metadata": {"name": "worker", "annotations": {"network.cilium.io/ipv4-cilium-host": "10.0.0.1"}}}]

    def get(self, resource: Resource, name: str, namespace: str = "") -> Any:
        group = resource.group_version.rpartition("/")[0]
        self.read.append((group, resource.plural, namespace, name))
        if resource.plural in self._refused:
            raise ApiError(f"GET {name}: forbidden", status=403)
        if name not in self._objects:
            raise ApiError(f"GET {name}: not found", status=404)
        return self._objects[name]


CILIUM = {
    "spec": {"template": {"spec": {"containers": [{"image": "quay.io/cilium/cilium:v1.20.2"}]}}},
    "status": {"desiredNumberScheduled": 4},
}
SETTINGS = {"data": {"kube-proxy-replacement": "true"}}
GROUPS = ("cilium.io", "crd.projectcalico.org", "operator.tigera.io")


def test_daemon_set_config_map_and_annotations_are_read() -> None:
    api: Any = StoredObjects({"cilium": CILIUM, "cilium-config": SETTINGS}, GROUPS)

    recognition = recognise(api)

    assert [program.title for program in recognition.others] == ["Cilium v1.20.2 in place of kube-proxy"]
    assert recognition.unread == ()


def test_what_is_read_is_what_the_printed_rights_allow() -> None:
    api: Any = StoredObjects({}, GROUPS)

    recognise(api)

    granted = {
        (rule.group, resource, rule.scope, name)
        for rule in rbac.rules(ClusterOptions(cluster="external"))
        for resource in rule.resources
        for name in rule.names
        if "get" in rule.verbs
    }
    assert len(api.read) > 10
    for group, resource, namespace, name in api.read:
        assert {(group, resource, namespace, name), (group, resource, "", name)} & granted


def test_a_right_that_is_missing_costs_the_name_of_the_mode() -> None:
    api: Any = StoredObjects({"cilium": CILIUM}, GROUPS, refused=("configmaps",))

    recognition = recognise(api)

    assert "what it does with Services is not known" in recognition.facts()["dataplane"]
    assert recognition.unread == ("ConfigMaps (403)",)


def test_without_any_right_nothing_is_recognised_and_nothing_fails() -> None:
    api: Any = StoredObjects({}, refused=("groups", "nodes", "daemonsets", "configmaps"))

    recognition = recognise(api)

    assert recognition.programs == ()
    assert recognition.facts() == {
        "dataplane not read": "API groups (403), nodes (403), DaemonSets (403), ConfigMaps (403)"
    }
