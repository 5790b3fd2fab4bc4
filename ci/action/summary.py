"""Shows a run of the action: the summary of the step as Markdown, and annotations of claims that did not pass.

From the environment: RESULT, LOG and REPORT, which are outputs of ``check.py``, and GITHUB_STEP_SUMMARY.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ANNOTATIONS: Final = {"failed": "error", "undetermined": "warning", "differs": "notice"}
"""The kind of a claim's annotation by its result."""
_TAIL: Final = 40
"""The number of lines that are shown of an output without a summary."""
_COLUMNS: Final = ("passed", "failed", "undetermined", "differs", "skipped")
_SUMMARY: Final = re.compile(r"^=+ summary =+$", re.MULTILINE)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def markdown(result: str, report: Mapping[str, Any] | None, output: str) -> Iterator[str]:
    """Yield the lines of the step's summary; there is no report when the run ended before it had begun."""
    yield f"## Session affinity: {result.replace('-', ' ')}"
    yield ""
    if report is not None:
        yield from _profiles(report["profiles"])
        yield from _not_passed_table(report["claims"])
    text = terminal_summary(output)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    yield from ("<details><summary>Summary of the run</summary>", "", f"{fence}text", text, fence, "", "</details>", "")


def annotation_lines(result: str, report: Mapping[str, Any] | None, output: str) -> Iterator[str]:
    """Yield GitHub's commands that annotate the run."""
    if report is None:
        last = terminal_summary(output).strip().rpartition("\n")[2]
        yield _annotation("error", f"Session affinity: {result}", last or "the suite printed nothing")
        return
    for (outcome, message), claims in _not_passed(report["claims"]).items():
        ids = ", ".join(claim["id"] for claim in claims)
        title = f"{ids} {outcome}: {claims[0]['title']}" if len(claims) == 1 else f"{len(claims)} {outcome}: {ids}"
        yield _annotation(ANNOTATIONS[outcome], title, message or claims[0]["title"])
    for claim_id in report["passesAfterAll"]:
        yield _annotation("notice", f"{claim_id} passes after all", "take it out of the file of known differences")


def terminal_summary(output: str) -> str:
    """Return the summary at the end of the suite's output, or the last lines of an output without one."""
    text = _COLOURS.sub("", output)
    starts = [match.start() for match in _SUMMARY.finditer(text)]
    return text[starts[-1] :].rstrip() if starts else "\n".join(text.rstrip().splitlines()[-_TAIL:])


def _profiles(profiles: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield _row(("profile", "result", *_COLUMNS, "supported features"))
    yield _row("---" for _ in range(len(_COLUMNS) + 3))
    for profile in profiles:
        counts = (str(profile["core"].get(name, 0)) for name in _COLUMNS)
        features = ", ".join(profile["supportedFeatures"]) or "none"
        yield _row((profile["name"], profile["result"], *counts, features))
    yield ""


def _not_passed_table(claims: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    groups = _not_passed(claims)
    if not groups:
        return
    yield _row(("claim", "title", "result", "what was observed"))
    yield _row("---" for _ in range(4))
    for (outcome, message), members in groups.items():
        ids = ", ".join(claim["id"] for claim in members)
        title = _escaped(members[0]["title"]) if len(members) == 1 else f"{len(members)} claims"
        yield _row((ids, title, outcome, _escaped(message.strip().partition("\n")[0])))
    yield ""


def _not_passed(claims: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Return the claims that did not pass by result and message: what ends a run is the message of many claims."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for claim in claims:
        if claim["result"] in ANNOTATIONS:
            groups.setdefault((claim["result"], str(claim.get("message", ""))), []).append(claim)
    return groups


def _annotation(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_data(title).replace(':', '%3A').replace(',', '%2C')}::{_data(message)}"


def _data(text: str) -> str:
    """Return a text as GitHub's commands take it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(text.split()))


def _read(file: Path) -> Any:
    # JSON is YAML, but for numbers that are not looked at here.
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None


def main() -> int:
    """Write the summary and print the annotations."""
    result, log, report = os.environ["RESULT"], Path(os.environ["LOG"]), _read(Path(os.environ["REPORT"]))
    output = log.read_text(encoding="utf-8")
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in markdown(result, report, output))
    for line in annotation_lines(result, report, output):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
