"""The matrix from the command line: which legs there are, running them, and what they come to."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci.matrix import legs as matrix
from session_affinity import versions
from session_affinity.command_line import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ci.matrix.expected import Plan
    from ci.matrix.legs import Leg
    from ci.matrix.report import Allure
    from session_affinity.versions import KubernetesVersions

_PROGRAM: Final = "python -m ci.matrix"
_EXAMPLES: Final = f"""\
examples:
  {_PROGRAM} plan --event pull_request                # the legs of a change, as JSON
  {_PROGRAM} run --versions 1.36 1.37 -- -m "C10"     # two versions in both modes, one claim
  {_PROGRAM} merge --event schedule results/matrix    # judge results that came from elsewhere
  {_PROGRAM} report                                   # the HTML of the last run

Exit codes: 0 done and, for run and merge, the gate is open; 1 the gate is shut or something failed; 2 unusable options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; errors go to standard error as one message with the next step."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    parser = _parser()
    parser.set_defaults(arguments=given[end + 1 :])
    return run(parser, given[:end])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    plan = verbs.add_parser("plan", help="print the legs that an event of GitHub Actions asks for")
    _event_options(plan)
    plan.add_argument("--github", action="store_true", help="as a line of GITHUB_OUTPUT")
    plan.set_defaults(verb=_plan)

    run = verbs.add_parser("run", help="run legs on embedded clusters one after another; after -- arguments of pytest")
    run.add_argument("--versions", nargs="*", default=[], metavar="1.37", help="these, or all [those in the cache]")
    run.add_argument("--modes", nargs="*", default=[], metavar="MODE", help="proxy modes [all that a version has]")
    run.add_argument("--results", type=Path, default=Path("results/matrix"), help="where results go [%(default)s]")
    _report_options(run)
    run.set_defaults(verb=_run)

    merge = verbs.add_parser("merge", help="one report of results that are there, judged by what an event asks for")
    merge.add_argument("results", type=Path, help="the directory that they are in or below")
    _event_options(merge)
    _report_options(merge)
    merge.set_defaults(verb=_merge)

    report = verbs.add_parser("report", help="make the HTML report of the last run, and serve it on a terminal")
    report.add_argument("results", type=Path, nargs="?", help="of these results [the newest below results/]")
    report.add_argument("--port", type=int, default=0, help="serve it there on 127.0.0.1 [any free port]")
    _report_options(report)
    report.set_defaults(verb=_report)
    return parser


def _event_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--event", required=True, help="pull_request, merge_group, schedule or workflow_dispatch")
    parser.add_argument("--provider", default="kind", choices=("kind", "embedded"), help="of every leg [%(default)s]")


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=Path("results/report"), help="the HTML report [%(default)s]")
    parser.add_argument("--history", type=Path, default=Path("history.jsonl"), help="earlier runs [%(default)s]")


def _plan(parsed: argparse.Namespace) -> int:
    known = versions.load()
    legs = matrix.planned(known, matrix.breadth_of(parsed.event), parsed.provider)
    document = matrix.github_matrix(legs, known)
    print(f"matrix={json.dumps(document)}" if parsed.github else json.dumps(document, indent=2))
    return 0


def _run(parsed: argparse.Namespace) -> int:
    from ci.matrix.expected import collect
    from ci.matrix.run import run_all

    allure = _allure()
    legs = legs_here(versions.load(), parsed.versions, parsed.modes)
    plan = collect(legs, parsed.arguments)
    judged = sum(sum(one.judged.values()) for one in plan.expectations)
    print(f"{len(legs)} legs, {judged} claims to judge: {', '.join(leg.name for leg in legs)}")
    for before in parsed.results.glob("k8s-*"):
        shutil.rmtree(before)
    ended = []
    for leg in run_all(legs, parsed.arguments, parsed.results, lambda text: print(text, flush=True)):
        ended.append(leg)
        print(leg.told, flush=True)
    print("\n" + "\n".join(leg.told for leg in ended))
    return _merged(plan, parsed, allure)


def legs_here(known: KubernetesVersions, minors: Sequence[str], modes: Sequence[str]) -> tuple[Leg, ...]:
    """Return the legs to run on embedded clusters; of the versions in the cache, or the default, where none is named.

    Raises UsageError for a name that chooses nothing.
    """
    from ci.matrix.run import available

    legs = matrix.planned(known, matrix.Breadth.ALL, "embedded")
    if list(minors) == ["all"]:
        return matrix.chosen(legs, known.minors, modes)
    if minors:
        return matrix.chosen(legs, minors, modes)
    here = available(known) or (known.default.minor,)
    if others := [minor for minor in known.minors if minor not in here]:
        print(f"not in the cache, and left out: {', '.join(others)}; VERSIONS=all gets and runs them too")
    return matrix.chosen(legs, here, modes)


def _merge(parsed: argparse.Namespace) -> int:
    from ci.matrix.expected import collect

    legs = matrix.planned(versions.load(), matrix.breadth_of(parsed.event), parsed.provider)
    return _merged(collect(legs, parsed.arguments), parsed, _allure())


def _merged(plan: Plan, parsed: argparse.Namespace, allure: Allure) -> int:
    from ci.matrix import report, table

    merged = report.merge(plan, parsed.results, parsed.output, parsed.history, allure)
    print(f"\n{table.text(merged.table)}\n\nreport: {parsed.output}/index.html, {parsed.output}/{report.PAGE}")
    print(merged.verdict)
    return 0 if merged.open else 1


def _report(parsed: argparse.Namespace) -> int:
    from ci.matrix import expected, report, results

    allure = _allure()
    parsed.results = parsed.results or results.newest(Path("results"))
    if (parsed.results / report.EXPECTED).is_file():
        _merged(expected.read(parsed.results / report.EXPECTED), parsed, allure)
    else:
        report.clear(parsed.output)
        report.generate(results.directories(parsed.results), parsed.output, parsed.history, allure)
        print(f"report of {parsed.results}: {parsed.output}/index.html")
    if sys.stdout.isatty():
        _serve(parsed.output, parsed.port)
    else:
        print(f"browsers want it served: make report on a terminal, or python -m http.server -d {parsed.output}")
    return 0


def _serve(directory: Path, port: int) -> None:
    import contextlib
    import webbrowser

    from ci.matrix.report import server_of

    with server_of(directory, port) as server, contextlib.suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        webbrowser.open(address)
        server.serve_forever()


def _allure() -> Allure:
    from ci.matrix.report import Allure

    return Allure.of(Path(sys.prefix))
