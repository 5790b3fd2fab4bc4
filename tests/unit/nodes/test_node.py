"""Commands that ended on a node."""

from __future__ import annotations

import pytest

from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed, shown_command


def test_check_returns_a_command_that_succeeded() -> None:
    done = Completed("n", ("true",), 0, "", "")

    assert done.check() is done


def test_the_error_of_a_failed_command_has_node_command_code_and_output() -> None:
    with pytest.raises(NodeError, match=r"^n: cat x ended with 1: no such file$"):
        Completed("n", ("cat", "x"), 1, "ignored", "no such file\n").check()


def test_a_script_is_named_by_its_beginning() -> None:
    shown = shown_command(("sh", "-c", "set -e\n" + "echo a line\n" * 50))

    assert shown.startswith("sh -c set -e echo a line")
    assert len(shown) < 110
