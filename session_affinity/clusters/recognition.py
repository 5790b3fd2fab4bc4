"""Read the objects by which the programs that serve a cluster's Services are recognised.

What may not be read is noted and costs a name, nothing more.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane import recognition
from session_affinity.dataplane.recognition import ClusterObjects, Recognition
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import CONFIG_MAPS, DAEMON_SETS, NODES, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.kube.api import Api

CUSTOM: Final = {
    recognition.FELIX_CONFIGURATION: Resource(
        "crd.projectcalico.org/v1", recognition.FELIX_CONFIGURATION, namespaced=False
    ),
    recognition.INSTALLATION: Resource("operator.tigera.io/v1", recognition.INSTALLATION, namespaced=False),
}
"""The custom resources that have Calico's mode; the object of each is called default."""
_NOT_FOUND: Final = 404


def recognise(api: Api) -> Recognition:
    """Return the programs that the API shows to serve Services; what may not be read costs their names."""
    unread: dict[str, None] = {}

    def read(what: str, request: Callable[[], Any]) -> Any:
        """Return the answer to a request; None for what does not exist and for what may not be read."""
        try:
            return request()
        except ApiError as error:
            if error.status != _NOT_FOUND:
                unread[f"{what} ({error.status or 'no answer'})"] = None
            return None

    groups = read("API groups", lambda: _api_groups(api)) or frozenset()
    nodes = read("nodes", lambda: api.objects(NODES)) or []
    daemon_sets = {
        (namespace, name): read("DaemonSets", partial(api.get, DAEMON_SETS, name, namespace))
        for namespace, name in recognition.DAEMON_SETS
    }
    config_maps = {
        name: read("ConfigMaps", partial(api.get, CONFIG_MAPS, name, "kube-system")) for name in recognition.CONFIG_MAPS
    }
    custom = {
        plural: read(plural, partial(api.get, resource, "default"))
        for plural, resource in CUSTOM.items()
        if resource.group_version.partition("/")[0] in groups
    }
    return recognition.recognise(
        ClusterObjects(
            {place: found for place, found in daemon_sets.items() if found},
            {name: found.get("data") or {} for name, found in config_maps.items() if found},
            {plural: found for plural, found in custom.items() if found},
            groups,
            frozenset(name for node in nodes for name in node["metadata"].get("annotations") or ()),
            tuple(unread),
        )
    )


def _api_groups(api: Api) -> frozenset[str]:
    """Return the names of the API groups that are served, which every authenticated user may read."""
    return frozenset(str(group["name"]) for group in json.loads(api.text("/apis")).get("groups") or ())
