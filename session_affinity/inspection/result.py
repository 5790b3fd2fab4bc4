"""The result of an inspection: the observation, its diagnoses, and the verdict that the exit code says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.inspection.diagnoses import diagnose
from session_affinity.inspection.diagnosis import Severity
from session_affinity.inspection.observation import RulesState

if TYPE_CHECKING:
    from session_affinity.inspection.diagnosis import Diagnosis
    from session_affinity.inspection.observation import Observation


class InspectionVerdict(StrEnum):
    """Whether affinity of the Service works, as far as an inspection can see."""

    WORKS = "works"
    """All nodes have the expected rules, and nothing was found that certainly keeps affinity from working."""
    BROKEN = "broken"
    UNDETERMINED = "undetermined"
    """Nothing was found that keeps it from working, and not everything that decides it could be read."""


EXIT_CODES = {
    InspectionVerdict.WORKS: ExitCode.HOLDS,
    InspectionVerdict.BROKEN: ExitCode.VIOLATED,
    InspectionVerdict.UNDETERMINED: ExitCode.UNDETERMINED,
}


@dataclass(frozen=True)
class Inspection:
    """An observation with its diagnoses; ``seconds`` is how long it took to read."""

    observation: Observation
    diagnoses: tuple[Diagnosis, ...]
    seconds: float = 0.0

    @classmethod
    def of(cls, observation: Observation, seconds: float = 0.0) -> Self:
        """Diagnose an observation."""
        return cls(observation, diagnose(observation), seconds)

    @property
    def verdict(self) -> InspectionVerdict:
        """Whether affinity works."""
        if any(diagnosis.severity is Severity.BROKEN for diagnosis in self.diagnoses):
            return InspectionVerdict.BROKEN
        return InspectionVerdict.UNDETERMINED if self.undetermined else InspectionVerdict.WORKS

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        return EXIT_CODES[self.verdict]

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The reasons why nobody can say that affinity works, in words; empty when everything decisive was read."""
        nodes = self.observation.nodes
        reasons = [f"{unread.what}: {unread.why}" for unread in self.observation.unread if unread.is_decisive]
        for state in (RulesState.NOT_READ, RulesState.NOT_COMPARED):
            by_reason: dict[str, list[str]] = {}
            for node in nodes:
                if node.rules is state:
                    by_reason.setdefault(node.not_read or node.not_compared, []).append(node.node)
            reasons += [
                f"rules of {'all nodes' if len(names) == len(nodes) else ', '.join(names)} {state}: {reason}"
                for reason, names in by_reason.items()
            ]
        return tuple(reasons)
