"""Nodes of tests that are read, and judged from what was read: without agents, as ``nodes.Nodes`` does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from session_affinity.dataplane.judgement import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.dataplane.judgement import Judgement, NodePart, Question
    from session_affinity.dataplane.model import Family
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.nodes.by_node import ByNode


class JudgedNodes(ABC):
    """Nodes that a test can read."""

    family: Family = "IPv4"
    fleet = None

    @abstractmethod
    def read(self, names: Any) -> ByNode[NodeSnapshot]:
        """Return the nodes of these names."""

    def judge(self, question: Question, part: Callable[[str], NodePart], names: Any) -> ByNode[Judgement]:
        """Read nodes and judge them."""
        return self.read(names).map(lambda name, state: judge(state, question, part(name)))
