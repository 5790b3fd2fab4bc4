"""What a client and the nodes saw of a Service while its endpoints changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError
from session_affinity.text import moment
from session_affinity.traffic.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.scenarios.endpoint_changes.scenario import ScenarioStep
    from session_affinity.testbed.testbed import SyncResult

NO_ANSWERS = Answers(())


@dataclass(frozen=True)
class StepResult:
    """A Service from one change to the next, with the answers to the requests of a client.

    ``step`` is the change, or the creation of the Service. ``during`` are the answers to requests that may have been
    under way while the nodes processed it, ``seconds`` is how long that took; ``answers`` are those to requests sent
    when the client's node had processed it. ``differences`` are those of each node's rules when the nodes had time to
    follow; none where nodes cannot be read. ``usable`` are the pods that may answer the client. ``frees`` says that the
    client may move although its endpoint is one of them before and after. ``flows`` has, for each flow of datagrams,
    the answers from the change to the next one; at least one of them was sent when the client's node had processed the
    change. ``returned`` are, for each node, the pods that were no endpoints before the change and are again, and whose
    affinity stores the node had not deleted.
    """

    step: ScenarioStep
    service: ServiceState
    sync: SyncResult
    during: Answers = NO_ANSWERS
    answers: Answers = NO_ANSWERS
    seconds: float = 0.0
    differences: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    usable: tuple[str, ...] = ()
    frees: bool = False
    flows: tuple[Answers, ...] = ()
    returned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def states(self) -> Mapping[str, NodeSnapshot]:
        """The nodes when they had followed, before the client's next request; none where nodes cannot be read."""
        return self.sync.states


@dataclass(frozen=True)
class ScenarioResult:
    """The steps of one Service, the first of them its creation, and what is left of it on nodes at the end.

    ``left`` has, for each node, everything that is of the Service after it was deleted; it is empty where nodes cannot
    be read.
    """

    steps: tuple[StepResult, ...]
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def service(self) -> ServiceState:
        """The Service as it was created."""
        return self.steps[0].service

    def step(self, step: ScenarioStep) -> StepResult:
        """Return the result of a step; raises NothingObservedError when it did not happen."""
        return self.steps[self._place(step)]

    def before(self, step: ScenarioStep) -> StepResult:
        """Return the result of the step before a change; raises NothingObservedError when there is none."""
        place = self._place(step)
        if not place:
            raise NothingObservedError(f"{self.service.key}: there is no step before '{step}'")
        return self.steps[place - 1]

    def csv(self) -> str:
        """Return one line for each answer, with the step it belongs to."""
        lines = [
            f"{number},{result.step},{when},{answer.endpoint or ''},{answer.local_port},{moment(answer.not_before)},"
            f'{moment(answer.not_after)},"{answer.error}"'
            for number, result in enumerate(self.steps)
            for when, answers in (("during", result.during), ("after", result.answers))
            for answer in answers
        ]
        return "\n".join(("number,step,when,endpoint,local_port,not_before,not_after,error", *lines)) + "\n"

    def _place(self, step: ScenarioStep) -> int:
        for place, result in enumerate(self.steps):
            if result.step == step:
                return place
        raise NothingObservedError(f"{self.service.key}: the step '{step}' did not happen")
