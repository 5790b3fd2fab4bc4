"""Nodes of tests that are read, and judged from what was read: without agents, as ``nodes.Nodes`` does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from session_affinity.dataplane.judgement import Judgement, judge, needed_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.dataplane.judgement import NodePart, Question
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

    def judge(
        self, question: Question, part: Callable[[str], NodePart], names: Any, *, awaited: bool = False
    ) -> ByNode[Judgement]:
        """Read nodes and judge them, with ``awaited`` only those that lack nothing."""

        def judgement(name: str, state: NodeSnapshot) -> Judgement:
            chain = needed_chain(name, question, part(name)) if awaited else ""
            if chain and chain not in state.ruleset.chains():
                return Judgement(name, lacks=chain)
            return judge(state, question, part(name))

        return self.read(names).map(judgement)
