"""Errors that keep a claim from being tested.

An ``AssertionError`` means that the cluster violates a claim. Everything else that can stop a test derives from
``SuiteError``, so that a report distinguishes violated claims from claims that could not be tested.
"""

from __future__ import annotations


class SuiteError(Exception):
    """A claim could not be tested.

    The message ``what`` has what happened and where; ``next_step`` is what the reader can do about it.
    """

    def __init__(self, what: str, *, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}\n  next: {next_step}" if next_step else what)


class UsageError(SuiteError):
    """Options contradict each other or have unknown values."""


class PreflightError(SuiteError):
    """The machine lacks something that a cluster needs; no cluster was created."""


class BinaryError(SuiteError):
    """A program of the cluster could not be found, downloaded or built."""


class ClusterError(SuiteError):
    """The cluster did not start, has stopped, or does not answer."""


class NodeError(ClusterError):
    """A node could not be read, or a command could not be run there."""


class NotReadyError(ClusterError):
    """A condition was not met before its deadline; the message has the last state."""


class TrafficError(SuiteError):
    """A client could not send its requests, or its output could not be read."""


class CancelledError(SuiteError):
    """The run ended before something in the background was over."""


class NothingObservedError(SuiteError):
    """A judge got no observation, so that the claim can neither hold nor be violated."""
