"""A Service dataplane other than kube-proxy, which keeps the promises of the Service API with nftables.

It runs on each node in place of kube-proxy. Each Service has a table, replaced by one transaction when the Service or
its endpoints change. With ClientIP affinity each endpoint has a set of clients with the affinity timeout.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from session_affinity.cluster_objects import handmade
from session_affinity.errors import ClusterError
from session_affinity.kube.api import Api
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Endpoint, ServicePort, ServiceState

PREFIX: Final = "elsewhere-"
_POLL_SECONDS: Final = 0.3


def table(service: ServiceState) -> str:
    """Return the nftables table of a Service with a cluster IP and endpoints."""
    (port,) = service.ports
    endpoints = "".join(_endpoint(number, endpoint, service) for number, endpoint in enumerate(port.endpoints))
    affinity = "".join(
        f"    ip saddr @clients-{number} goto endpoint-{number}\n"
        for number in range(len(port.endpoints))
        if service.has_affinity
    )
    choice = ", ".join(f"{number} : goto endpoint-{number}" for number in range(len(port.endpoints)))
    return (
        f"table ip {PREFIX}{service.namespace}-{service.name} {{\n{endpoints}"
        f"  chain service {{\n{affinity}    numgen random mod {len(port.endpoints)} vmap {{ {choice} }}\n  }}\n"
        f"{_hook('prerouting', 'dstnat', service, port)}{_hook('output', '-100', service, port)}}}\n"
    )


def _endpoint(number: int, endpoint: Endpoint, service: ServiceState) -> str:
    clients = (
        f"  set clients-{number} {{ type ipv4_addr; flags dynamic,timeout; timeout {service.timeout_seconds}s; }}\n"
    )
    update = f"update @clients-{number} {{ ip saddr }} "
    if not service.has_affinity:
        clients = update = ""
    return f"{clients}  chain endpoint-{number} {{ meta l4proto tcp {update}dnat to {endpoint.at}; }}\n"


def _hook(name: str, priority: str, service: ServiceState, port: ServicePort) -> str:
    match = f"ip daddr {service.cluster_ips[0]} tcp dport {port.port} goto service"
    return f"  chain {name} {{ type nat hook {name} priority {priority}; {match}; }}\n"


def sync(api: Api, programmed: dict[str, ServiceState]) -> None:
    """Program this node's tables as the API has the Services; ``programmed`` are the Services of the last sync."""
    services = {
        state.key.replace("/", "-"): state
        for state in handmade.states(api.objects(SERVICES), api.objects(ENDPOINT_SLICES))
        if state.cluster_ips and len(state.ports) == 1 and state.endpoints
    }
    unchanged = {name for name, state in services.items() if programmed.get(name) == state}
    transaction = "".join(
        # Adding the table first keeps the deletion from failing when there is none.
        f"add table ip {PREFIX}{name}\ndelete table ip {PREFIX}{name}\n"
        + (table(services[name]) if name in services else "")
        for name in (programmed.keys() | services.keys()) - unchanged
    )
    if transaction:
        subprocess.run(("nft", "-f", "-"), input=transaction, text=True, check=True)
    programmed.clear()
    programmed.update(services)


def main() -> None:
    """Serve Services until killed; takes kube-proxy's --config and reads the kubeconfig's path from that file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    configuration = yaml.safe_load(parser.parse_args().config.read_text())
    api = Api(Path(configuration["clientConnection"]["kubeconfig"]))
    programmed: dict[str, ServiceState] = {}
    while True:
        try:
            sync(api, programmed)
        except ClusterError as error:
            sys.stderr.write(f"{error}\n")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
