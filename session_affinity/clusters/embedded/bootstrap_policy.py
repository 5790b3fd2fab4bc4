"""Keeps the RBAC rules and priority classes that an API server creates at its first start, for later clusters.

Every API server of a version creates the same ones, one request after the other, and begins with them only after a
second (``PostStartHook`` in pkg/registry/rbac/rest/storage_rbac.go and pkg/registry/scheduling/rest/
storage_scheduling.go). Until then it refuses all requests of the cluster's programs. The first cluster of a version
reads them from etcd when its API server is ready and stores them in the cache; later clusters write them to etcd while
their API server starts, which then finds them and compares each with what it would create.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.embedded import cache_files
from session_affinity.clusters.embedded.layout import API_PORT, ETCD_PORT
from session_affinity.clusters.embedded.process import Gate
from session_affinity.dataplane.model import host_port
from session_affinity.errors import ClusterError
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from session_affinity.clusters.embedded.layout import Layout

_CHECKS: Final = ("poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes")
"""The checks of /readyz that say whether the API server has created them."""
_RESOURCES: Final = ("clusterroles", "clusterrolebindings", "roles", "rolebindings", "priorityclasses", "namespaces")
_PREFIXES: Final = tuple(f"/registry/{resource}/" for resource in _RESOURCES)
_KEYS_IN_TRANSACTION: Final = 100
"""etcd allows 128 operations in a transaction (``--max-txn-ops``)."""
_OURS: Final = "session-affinity:"
"""How the names of objects begin that the suite creates."""
_SECONDS: Final = 5.0
"""The timeout of a request to etcd."""

Objects = dict[str, str]
"""Stored objects: etcd's value, in base64, by key."""


def readiness_path(layout: Layout) -> str:
    """Return the path that says whether the API server serves a cluster.

    Where the objects are not known, it must have created them.
    """
    return "/readyz" + ("?" + "&".join(f"exclude={check}" for check in _CHECKS) if layout.policy_is_known else "")


def ready_gate(layout: Layout, pki: Path) -> Gate:
    """Return the gate that opens when the API server has created them, and is ready in all else."""
    return Gate("ready", host_port(layout.control_plane.address, API_PORT), str(pki / "ca.crt"))


def read(file: Path) -> Objects:
    """Return the objects in a file; empty where there is no such file, or one that cannot be used."""
    try:
        objects = json.loads(file.read_text())
        for key, value in objects.items():
            if not key.startswith(_PREFIXES):
                return {}
            base64.b64decode(value, validate=True)
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error):
        return {}
    return dict(objects)


def write(file: Path, objects: Objects) -> None:
    """Store objects in a file of the cache; raises OSError."""
    cache_files.replace(file, json.dumps(objects, indent=1))


@dataclass(frozen=True)
class Etcd:
    """The etcd of a cluster, asked through its JSON gateway; ``pki`` has its CA and the API server's key.

    Call it in the network namespace of the control plane. ``objects`` and ``create`` raise OSError or HTTPException
    where etcd does not answer within ``seconds``, and ClusterError where it refuses.
    """

    pki: Path
    seconds: float
    port: int = ETCD_PORT

    def objects(self) -> Objects:
        """Return the objects that API servers create at their first start."""
        found: Objects = {}
        for prefix in _PREFIXES:
            answer = self._call("range", {"key": _encoded(prefix), "range_end": _encoded(prefix[:-1] + "0")})
            found |= {base64.b64decode(pair["key"]).decode(): pair["value"] for pair in answer.get("kvs", ())}
        return {key: value for key, value in found.items() if not key.rpartition("/")[2].startswith(_OURS)}

    def create(self, objects: Objects) -> None:
        """Create objects of which none exists; nothing changes where one of a transaction does."""
        pairs = [(_encoded(key), value) for key, value in objects.items()]
        for first in range(0, len(pairs), _KEYS_IN_TRANSACTION):
            part = pairs[first : first + _KEYS_IN_TRANSACTION]
            transaction = {
                "compare": [{"key": key, "target": "VERSION", "version": "0"} for key, _ in part],
                "success": [{"requestPut": {"key": key, "value": value}} for key, value in part],
            }
            self._call("txn", transaction)

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            self._call("range", {"key": _encoded("/registry")})
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _call(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        import ssl

        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "etcd-client.crt", self.pki / "etcd-client.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=self.seconds, context=context)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/kv/{operation}", json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        if response.status != http.HTTPStatus.OK:
            raise ClusterError(f"etcd refuses {operation}: {response.status} {text.decode(errors='replace')[-300:]}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def share(layout: Layout, pki: Path) -> None:
    """Write the objects of the layout's file to etcd, or store those of etcd there once the API server is ready.

    Call it in the network namespace of the control plane. Raises NotReadyError, ClusterError or OSError; the cluster
    starts without it too, a second later.
    """
    etcd, seconds, file = Etcd(pki, _SECONDS), layout.deadlines.embedded_api, Path(layout.policy_file)
    if layout.policy_is_known:
        wait_until(etcd.answers, seconds, what=f"etcd of cluster {layout.name}", pause=0.02)
        etcd.create(read(file))
        return
    ready = ready_gate(layout, pki)
    what = f"the API server of cluster {layout.name} to be ready"
    wait_until(lambda: ready.is_open({}), seconds, what=what, pause=0.2)
    write(file, etcd.objects())
