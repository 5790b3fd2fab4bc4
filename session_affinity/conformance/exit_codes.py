"""What the exit code of a run says."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from session_affinity.conformance.result import Outcome, SkipReason

if TYPE_CHECKING:
    from session_affinity.conformance.result import RunResult


class ExitCode(IntEnum):
    """The exit codes of a run; those from 2 to 5 are pytest's."""

    HOLDS = 0
    """Every claim that was judged holds, or differs as is known."""
    VIOLATED = 1
    """The cluster violates a claim."""
    INTERRUPTED = 2
    """The run was interrupted."""
    INTERNAL_ERROR = 3
    """pytest or the suite has a defect."""
    USAGE = 4
    """The options contradict each other or name something unknown."""
    NOTHING_COLLECTED = 5
    """No claim was selected."""
    UNDETERMINED = 10
    """No claim is violated, but one could not be tested, or one that was required was skipped."""
    NOTHING_JUDGED = 11
    """Every selected claim was skipped."""


NODE_CLAIMS = "node-claims"
"""What ``--require`` takes: claims about nodes must not be skipped for want of access."""


def exit_code(result: RunResult, *, require_node_claims: bool = False) -> ExitCode:
    """Return the exit code of a run that came to its end."""
    if result.of(Outcome.FAILED):
        return ExitCode.VIOLATED
    unseen = [skipped for skipped in result.of(Outcome.SKIPPED) if skipped.skip_reason is SkipReason.NO_ACCESS]
    if result.of(Outcome.UNDETERMINED) or (require_node_claims and unseen):
        return ExitCode.UNDETERMINED
    return ExitCode.HOLDS if result.judged else ExitCode.NOTHING_JUDGED
