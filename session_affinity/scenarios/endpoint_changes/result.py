"""What was seen of Services while their endpoints came and went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from session_affinity.text import moment
from session_affinity.traffic.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.testbed.testbed import SyncResult

NOBODY = Answers(())


@dataclass(frozen=True)
class Stage:
    """A Service from one change to the next, and what a client saw that went on asking it.

    ``change`` says what was done. ``during`` are the answers to requests that may have been under way while the nodes
    learnt of it, ``seconds`` is how long that was; ``answers`` are those to requests sent when the client's node had
    learnt of it. ``differences`` are those of each node's rules when they had time to follow.
    """

    change: str
    service: ServiceState
    sync: SyncResult
    during: Answers = NOBODY
    answers: Answers = NOBODY
    seconds: float = 0.0
    differences: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    usable: tuple[str, ...] = ()

    @property
    def states(self) -> Mapping[str, NodeSnapshot]:
        """What the nodes held when they had followed, before the client asked again; none where they are not read."""
        return self.sync.states


@dataclass(frozen=True)
class ScenarioResult:
    """The stages of one Service, the first of them before any change, and what of it is left on nodes at its end.

    ``left`` has, for each node, everything that is of the Service after it was deleted.
    """

    stages: tuple[Stage, ...]
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def service(self) -> ServiceState:
        """The Service as it was at first."""
        return self.stages[0].service

    def csv(self) -> str:
        """Return one line an answer, with the stage it belongs to."""
        lines = [
            f"{number},{stage.change},{kind},{answer.endpoint or ''},{answer.local_port},{moment(answer.not_before)},"
            f'{moment(answer.not_after)},"{answer.error}"'
            for number, stage in enumerate(self.stages)
            for kind, answers in (("during", stage.during), ("after", stage.answers))
            for answer in answers
        ]
        return "\n".join(("stage,change,when,endpoint,local_port,not_before,not_after,error", *lines)) + "\n"
