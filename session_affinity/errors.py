"""What went wrong when it was not the cluster that violated a claim.

An ``AssertionError`` means that the cluster does not keep a promise. Everything else that can stop a check derives from
``SuiteError``, so that a report tells "does not conform" from "could not tell".
"""

from __future__ import annotations


class SuiteError(Exception):
    """Something kept a check from being made.

    The message says what happened and where; ``next_step`` says what the reader can do about it.
    """

    def __init__(self, what: str, *, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}\n  next: {next_step}" if next_step else what)


class UsageError(SuiteError):
    """Options that contradict each other or name something unknown."""


class PreflightError(SuiteError):
    """The machine lacks something that a cluster needs; nothing was created."""


class BinaryError(SuiteError):
    """A program the cluster runs could be neither found, downloaded nor built."""


class ClusterError(SuiteError):
    """The cluster did not start, stopped, or does not answer."""


class NodeError(ClusterError):
    """A node could not run a command or be read."""


class NotReadyError(ClusterError):
    """A condition was not met before its deadline; the message holds the last state seen."""


class TrafficError(SuiteError):
    """A client could not send its requests, or said something that is no answer."""


class NothingObservedError(SuiteError):
    """A judge was given no observation, so that the claim can neither hold nor fail."""
