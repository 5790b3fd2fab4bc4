"""A run as metrics in the text format of Prometheus, for a collector of files or a ConfigMap.

https://prometheus.io/docs/instrumenting/exposition_formats
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PREFIX: Final = "session_affinity_"


def metrics(code: int, document: Mapping[str, Any] | None) -> str:
    """Return exit code and conformance report of a run as metrics; a run without a report has the exit code alone."""
    lines = [*_gauge("exit_code", "Exit code of the run: 0 holds, 1 violated, 10 undetermined.", [({}, code)])]
    if document is not None:
        lines += _of_report(document)
    return "".join(f"{line}\n" for line in lines)


def _of_report(document: Mapping[str, Any]) -> Iterator[str]:
    nodes = document["cluster"]["nodes"]
    yield from _gauge(
        "claims", "Claims by result.", [({"result": name}, count) for name, count in document["summary"].items()]
    )
    yield from _gauge(
        "claim",
        "1 for the result of each claim that was not skipped.",
        [
            ({"claim": claim["id"], "subject": claim["subject"], "result": claim["result"]}, 1)
            for claim in document["claims"]
            if claim["result"] != "skipped"
        ],
    )
    yield from _gauge(
        "nodes", "Nodes of the cluster, and those judged.", [({"state": name}, nodes[name]) for name in sorted(nodes)]
    )
    yield from _gauge("run_seconds", "Length of the run.", [({}, document["durationSeconds"])])
    ended = datetime.fromisoformat(document["date"]).timestamp()
    yield from _gauge("run_timestamp_seconds", "When the run ended, in seconds since 1970.", [({}, ended)])
    yield from _gauge(
        "suite_info",
        "1, with the version of the suite and of Kubernetes.",
        [
            (
                {
                    "version": document["suite"]["version"],
                    "kubernetes": document["cluster"]["kubernetes"],
                    "proxy_mode": document["cluster"]["proxyMode"],
                },
                1,
            )
        ],
    )


def _gauge(name: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {meaning}"
    yield f"# TYPE {PREFIX}{name} gauge"
    for labels, value in samples:
        listed = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels.items())
        yield f"{PREFIX}{name}{'{' + listed + '}' if listed else ''} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
