"""What a walk prints of a node that was late."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.cli.walks import end_of_log
from session_affinity.errors import ClusterError

pytestmark = pytest.mark.unit


class LoggingCluster:
    """A cluster with the log of one node."""

    def dataplane_log(self, node: str) -> str:
        if node != "worker":
            raise ClusterError(f"{node}: kube-proxy has no log")
        return "\n".join(f"line {number}" for number in range(100))


def test_the_last_lines_of_the_log_follow_the_name_of_the_node() -> None:
    cluster: Any = LoggingCluster()

    first, *lines = end_of_log(cluster, "worker").splitlines()

    assert first == "worker: the end of the log of its kube-proxy:"
    assert lines == [f"  line {number}" for number in range(60, 100)]


def test_without_a_log_there_is_the_reason() -> None:
    cluster: Any = LoggingCluster()

    assert "other: kube-proxy has no log" in end_of_log(cluster, "other")
