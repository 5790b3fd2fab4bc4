"""The releases of kube-proxies that are the user's, each as it says it on its node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from session_affinity.dataplane.pages import PAGES_ARGV, release_in
from session_affinity.errors import NodeError
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from session_affinity.nodes.node import Node
    from session_affinity.releases import Release


def read(nodes: Mapping[str, Node]) -> dict[str, Release | None]:
    """Return the release of each kube-proxy that answers; None for one whose version names none."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        pages = dict(zip(nodes, pool.map(_pages, nodes.values()), strict=True))
    return {name: release_in(page) for name, page in pages.items() if page}


def wait(nodes: Mapping[str, Node], seconds: float, require_alive: Callable[[], None]) -> tuple[str, ...]:
    """Wait until every kube-proxy answers, for at most these seconds; return the nodes on which it does not.

    ``require_alive`` raises when a program of the cluster has ended.
    """
    silent: tuple[str, ...] = tuple(nodes)

    def all_answer() -> bool:
        nonlocal silent
        require_alive()
        answering = read(nodes)
        silent = tuple(name for name in nodes if name not in answering)
        return not silent

    poll(all_answer, seconds, pause=0.2)
    return silent


def _pages(node: Node) -> str:
    """Return what a node's kube-proxy answers; empty where it does not."""
    try:
        return node.run(PAGES_ARGV).stdout
    except NodeError:
        return ""
