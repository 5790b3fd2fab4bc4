"""A Service dataplane that is not kube-proxy: it keeps the API's promises in nftables tables of its own making.

Runs on each node in kube-proxy's place. Every Service has a table, written anew in one transaction when the Service or
its endpoints change; with ClientIP each endpoint has a set of clients that forgets them when the timeout is over.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from session_affinity.dataplane.model import ServiceState
from session_affinity.errors import ClusterError
from session_affinity.kube.api import Api
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Endpoint, ServicePort

PREFIX: Final = "elsewhere-"
_POLL_SECONDS: Final = 0.3


def table(service: ServiceState) -> str:
    """Return the table of a Service with a cluster IP and endpoints."""
    (port,) = service.ports
    endpoints = "".join(_endpoint(number, one, service) for number, one in enumerate(port.endpoints))
    keep = "".join(
        f"    ip saddr @clients-{number} goto endpoint-{number}\n"
        for number in range(len(port.endpoints))
        if service.has_affinity
    )
    choice = ", ".join(f"{number} : goto endpoint-{number}" for number in range(len(port.endpoints)))
    return (
        f"table ip {PREFIX}{service.namespace}-{service.name} {{\n{endpoints}"
        f"  chain service {{\n{keep}    numgen random mod {len(port.endpoints)} vmap {{ {choice} }}\n  }}\n"
        f"{_hook('prerouting', 'dstnat', service, port)}{_hook('output', '-100', service, port)}}}\n"
    )


def _endpoint(number: int, endpoint: Endpoint, service: ServiceState) -> str:
    clients = (
        f"  set clients-{number} {{ type ipv4_addr; flags dynamic,timeout; timeout {service.timeout_seconds}s; }}\n"
    )
    remember = f"update @clients-{number} {{ ip saddr }} "
    if not service.has_affinity:
        clients = remember = ""
    return f"{clients}  chain endpoint-{number} {{ meta l4proto tcp {remember}dnat to {endpoint.at}; }}\n"


def _hook(name: str, priority: str, service: ServiceState, port: ServicePort) -> str:
    match = f"ip daddr {service.cluster_ips[0]} tcp dport {port.port} goto service"
    return f"  chain {name} {{ type nat hook {name} priority {priority}; {match}; }}\n"


def synchronise(api: Api, written: dict[str, ServiceState]) -> None:
    """Bring this node's tables to what the API says; ``written`` is what they are, by Service."""
    slices = api.objects(ENDPOINT_SLICES)
    states = (ServiceState.from_objects(one, slices) for one in api.objects(SERVICES))
    wanted = {one.key.replace("/", "-"): one for one in states if one.cluster_ips and len(one.ports) == 1}
    wanted = {name: one for name, one in wanted.items() if one.endpoints}
    for name in (written.keys() | wanted.keys()) - {name for name in wanted if written.get(name) == wanted[name]}:
        # To add what may not be there, so that deleting it cannot fail.
        transaction = f"add table ip {PREFIX}{name}\ndelete table ip {PREFIX}{name}\n"
        transaction += table(wanted[name]) if name in wanted else ""
        subprocess.run(("nft", "-f", "-"), input=transaction, text=True, check=True)
    written.clear()
    written.update(wanted)


def main() -> None:
    """Serve Services until ended; takes kube-proxy's own option, and reads from its file how to reach the API."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    configuration = yaml.safe_load(parser.parse_args().config.read_text())
    api = Api(Path(configuration["clientConnection"]["kubeconfig"]))
    written: dict[str, ServiceState] = {}
    while True:
        try:
            synchronise(api, written)
        except ClusterError as error:
            sys.stderr.write(f"{error}\n")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
