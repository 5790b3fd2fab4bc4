"""An API server's view that one kube-proxy gets: a proxy on loopback that changes objects on their way to it.

``python api_view.py KUBECONFIG PORT CHANGE`` runs on the node. A kube-proxy that reads changed objects programs exactly
what a kube-proxy with a fault in that place would: everything else about its rules is right.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]


def only_first_slice(thing: Json) -> None:
    """Leave out the endpoints of all slices of a Service but the first."""
    if thing["kind"] == "EndpointSlice" and not thing["metadata"]["name"].endswith("-0") and _is_shape(thing):
        thing["endpoints"] = []


def no_node_hints(thing: Json) -> None:
    """Leave out the hints for nodes."""
    for endpoint in thing.get("endpoints") or ():
        endpoint.get("hints", {}).pop("forNodes", None)


def sctp_with_local_policy(thing: Json) -> None:
    """Leave out the affinity of SCTP Services with internalTrafficPolicy Local."""
    spec = thing.get("spec") or {}
    if spec.get("internalTrafficPolicy") == "Local" and _has_protocol(spec, "SCTP"):
        spec["sessionAffinity"] = "None"
        spec.pop("sessionAffinityConfig", None)


def draining_in_several_slices(thing: Json) -> None:
    """Leave out terminating endpoints of second and further slices."""
    if thing["kind"] == "EndpointSlice" and not thing["metadata"]["name"].endswith("-0") and _is_shape(thing):
        thing["endpoints"] = [
            endpoint
            for endpoint in thing.get("endpoints") or ()
            if not endpoint.get("conditions", {}).get("terminating")
        ]


def ranges_without_node_ports(thing: Json) -> None:
    """Leave out the source ranges of load balancers without node ports."""
    spec = thing.get("spec") or {}
    if spec.get("allocateLoadBalancerNodePorts") is False:
        spec.pop("loadBalancerSourceRanges", None)


CHANGES: Mapping[str, Callable[[Json], None]] = {
    change.__name__: change
    for change in (
        only_first_slice,
        no_node_hints,
        sctp_with_local_policy,
        draining_in_several_slices,
        ranges_without_node_ports,
    )
}


def _is_shape(thing: Json) -> bool:
    return str(thing["metadata"]["name"]).startswith("affinity-shape-")


def _has_protocol(spec: Json, protocol: str) -> bool:
    return any(port.get("protocol") == protocol for port in spec.get("ports") or ())


def changed(document: Json, change: Callable[[Json], None]) -> Json:
    """Return an event of a watch, or a list, with its objects changed."""
    kind = str(document.get("kind", ""))
    if kind.endswith("List"):
        for item in document.get("items") or ():
            # Items of a list have no kind.
            item["kind"] = kind.removesuffix("List")
            change(item)
    elif isinstance(document.get("object"), dict) and document.get("type") in ("ADDED", "MODIFIED", "DELETED"):
        change(document["object"])
    return document


class Upstream:
    """The API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        address = urlsplit(cluster["server"])
        self.host, self.port = str(address.hostname), address.port or 443
        self.tls = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            file.flush()
            self.tls.load_cert_chain(file.name)

    def connect(self) -> http.client.HTTPSConnection:
        """Open a connection."""
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls)


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def handler(upstream: Upstream, change: Callable[[Json], None]) -> type[BaseHTTPRequestHandler]:
    """Return what handles kube-proxy's requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            self.forward()

        def do_PATCH(self) -> None:
            self.forward()

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            dropped = {"host", "accept-encoding", "connection", "content-length"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            connection = upstream.connect()
            connection.request(self.command, self.path, body or None, headers)
            reply = connection.getresponse()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.headers.get("Content-Type", "application/json"))
            self.end_headers()
            # A reply without length ends with the connection; a watch has an event a line.
            is_json = "json" in reply.headers.get("Content-Type", "")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if not is_json:
                    self.wfile.write(reply.read())
                    return
                for line in reply:
                    text = json.dumps(changed(json.loads(line), change)) if line.strip() else ""
                    self.wfile.write(f"{text}\n".encode())
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def main(kubeconfig: str, port: str, change: str) -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler(Upstream(Path(kubeconfig)), CHANGES[change]))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
