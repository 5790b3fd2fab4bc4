"""The ids of the study that the suite grew from, and why some of them are not checked."""

from __future__ import annotations

from typing import Final

STUDY: Final = tuple(
    f"C{number:02}{letter}" for number in range(1, 49) for letter in ("", *{21: "n", 22: "n", 24: "bc"}.get(number, ""))
)
"""Every id of the study, in its order."""

NOT_CHECKED: Final[dict[str, str]] = {
    "C01": "It is no claim about affinity but what has to be known before one can be judged: the mode of kube-proxy, "
    "the variant of iptables, the tick rate and clock of each node. Every run reads it; what then cannot be judged is "
    "skipped by a rule that says so, and the report tells what the run was on.",
}
"""Why an id of the study has no test, where it never will have one."""
