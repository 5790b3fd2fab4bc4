"""The releases of kube-proxies that are the user's, as they say it on their nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import kube_proxy_releases
from session_affinity.errors import ClusterError, NodeError
from session_affinity.nodes.node import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

METRIC = 'kubernetes_build_info{{build_date="2026-01-01",git_version="{}",major="1",minor="33"}} 1\n'


class Node:
    """A node whose kube-proxy answers with these pages, one after the other; it has ended when there is none."""

    def __init__(self, *pages: str) -> None:
        self._pages = list(pages)

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        if not self._pages:
            raise NodeError("n: the node has ended")
        page = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        return Completed("n", tuple(argv), 0, page, "")


def test_the_release_is_what_each_kube_proxy_says() -> None:
    nodes = {
        "old": Node("mode iptables\n" + METRIC.format("v1.33.13")),
        "built": Node("mode iptables\n" + METRIC.format("v0.0.0-master+$Format:%H$")),
        "silent": Node(""),
        "ended": Node(),
    }

    assert kube_proxy_releases.read(nodes) == {"old": (1, 33), "built": None}


def test_kube_proxies_that_are_still_starting_are_waited_for() -> None:
    nodes = {"late": Node("", METRIC.format("v1.33.13")), "early": Node(METRIC.format("v1.37.2"))}

    assert kube_proxy_releases.wait(nodes, 10, lambda: None) == ()


def test_nodes_whose_kube_proxy_does_not_answer_are_named() -> None:
    nodes = {"silent": Node(""), "new": Node(METRIC.format("v1.37.2")), "ended": Node()}

    assert kube_proxy_releases.wait(nodes, 0, lambda: None) == ("silent", "ended")


def test_a_program_that_has_ended_ends_the_wait() -> None:
    def require_alive() -> None:
        raise ClusterError("c: ended during the start: c-worker: kube-proxy (exit code 1)")

    with pytest.raises(ClusterError, match="exit code 1"):
        kube_proxy_releases.wait({"silent": Node("")}, 10, require_alive)
