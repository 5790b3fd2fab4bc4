"""The claims on several Kubernetes versions, proxy modes and IP families: plan the legs, run them, report and judge."""

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

    from ci.matrix.expectations import Plan
    from ci.matrix.report import Allure
    from session_affinity.legs import Leg
    from session_affinity.versions import KubernetesVersions

_PROGRAM: Final = "python -m ci.matrix"
_EXAMPLES: Final = f"""\
examples:
  {_PROGRAM} plan --event pull_request                # the legs of a pull request, as JSON
  {_PROGRAM} run --versions 1.36 1.37 -- -m "C10"     # two versions in both modes, one claim
  {_PROGRAM} run --modes nftables --families dual     # dual-stack legs only
  {_PROGRAM} merge --event schedule results/matrix    # judge results from other machines
  {_PROGRAM} report                                   # the HTML report of the last run

exit codes: 0 done, and for run and merge the gate is open; 1 the gate is shut or something failed; 2 unusable options.
"""
_ALL: Final = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; an error goes to standard error as one message with the next step."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    parser = _parser()
    parser.set_defaults(arguments=words[end + 1 :])
    return run(parser, words[:end])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    plan = verbs.add_parser("plan", help="print the legs for an event of GitHub Actions")
    _add_event_options(plan)
    plan.add_argument("--github", action="store_true", help="as a line of GITHUB_OUTPUT")
    plan.set_defaults(verb=_plan)

    run = verbs.add_parser("run", help="run legs on embedded clusters one after another; pytest arguments follow --")
    run.add_argument("--versions", nargs="*", default=[], metavar="1.37", help=f"or {_ALL} [those in the cache]")
    run.add_argument("--modes", nargs="*", default=[], metavar="MODE", help="proxy modes [all that a version has]")
    run.add_argument(
        "--families",
        nargs="*",
        default=[],
        metavar="FAMILY",
        help="IP families: ipv4, ipv6, dual [ipv4 everywhere, and dual for the newest of the versions]",
    )
    run.add_argument("--results", type=Path, default=Path("results/matrix"), help="directory of results [%(default)s]")
    _add_report_options(run)
    run.set_defaults(verb=_run)

    merge = verbs.add_parser("merge", help="report existing results, judged by the legs for an event")
    merge.add_argument("results", type=Path, help="the directory at or below which the results are")
    _add_event_options(merge)
    _add_report_options(merge)
    merge.set_defaults(verb=_merge)

    report = verbs.add_parser("report", help="generate the HTML report of the last run, and serve it on a terminal")
    report.add_argument("results", type=Path, nargs="?", help="directory of results [the newest below results/]")
    report.add_argument("--port", type=int, default=0, help="serve on this port of 127.0.0.1 [any free port]")
    _add_report_options(report)
    report.set_defaults(verb=_report)
    return parser


def _add_event_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--event", required=True, help="pull_request, merge_group, schedule or workflow_dispatch")
    parser.add_argument("--provider", default="kind", choices=("kind", "embedded"), help="of every leg [%(default)s]")


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=Path("results/report"), help="the HTML report [%(default)s]")
    parser.add_argument(
        "--history", type=Path, default=Path("history.jsonl"), help="the history of reports [%(default)s]"
    )


def _plan(parsed: argparse.Namespace) -> int:
    supported = versions.load()
    legs = matrix.planned(supported, matrix.breadth_of(parsed.event), parsed.provider)
    document = matrix.github_matrix(legs, supported)
    print(f"matrix={json.dumps(document)}" if parsed.github else json.dumps(document, indent=2))
    return 0


def _run(parsed: argparse.Namespace) -> int:
    from ci.matrix.expectations import collect
    from ci.matrix.run import run_all

    allure = _allure()
    legs = embedded_legs(versions.load(), parsed.versions, parsed.modes, parsed.families)
    plan = collect(legs, parsed.arguments)
    claims = sum(sum(expectation.judged.values()) for expectation in plan.expectations)
    print(f"{len(legs)} legs, {claims} claims to judge: {', '.join(leg.name for leg in legs)}")
    for earlier in parsed.results.glob("k8s-*"):
        shutil.rmtree(earlier)
    lines = []
    for leg_run in run_all(legs, parsed.arguments, parsed.results, lambda text: print(text, flush=True)):
        lines.append(leg_run.line)
        print(leg_run.line, flush=True)
    print("\n" + "\n".join(lines))
    return _report_matrix(plan, parsed, allure)


def embedded_legs(
    supported: KubernetesVersions, minors: Sequence[str], modes: Sequence[str], families: Sequence[str]
) -> tuple[Leg, ...]:
    """Return the legs to run on embedded clusters; see ``legs.chosen`` for the modes and families.

    Without versions: those whose programs are in the cache, or else the default version. Raises UsageError for a
    version, mode or family that does not exist.
    """
    from ci.matrix.run import cached_minors

    if list(minors) == [_ALL]:
        minors = supported.minors
    if not minors:
        minors = cached_minors(supported) or (supported.default.minor,)
        if others := [minor for minor in supported.minors if minor not in minors]:
            print(f"left out, because not in the cache: {', '.join(others)}; VERSIONS=all downloads and runs them too")
    return matrix.chosen(supported, "embedded", minors=minors, modes=modes, families=families)


def _merge(parsed: argparse.Namespace) -> int:
    from ci.matrix.expectations import collect

    legs = matrix.planned(versions.load(), matrix.breadth_of(parsed.event), parsed.provider)
    return _report_matrix(collect(legs, parsed.arguments), parsed, _allure())


def _report_matrix(plan: Plan, parsed: argparse.Namespace, allure: Allure) -> int:
    from ci.matrix import report, table

    merged = report.merge(plan, parsed.results, parsed.output, parsed.history, allure)
    print(f"\n{table.text(merged.table)}\n\nreport: {parsed.output}/index.html, {parsed.output}/{report.PAGE}")
    print(merged.verdict.text)
    return 0 if merged.verdict.is_open else 1


def _report(parsed: argparse.Namespace) -> int:
    from ci.matrix import expectations, report, results

    allure = _allure()
    parsed.results = parsed.results or results.newest(Path("results"))
    plan = parsed.results / report.PLAN
    if plan.is_file():
        _report_matrix(expectations.read(plan), parsed, allure)
    else:
        report.clear(parsed.output)
        report.generate(results.directories(parsed.results), parsed.output, parsed.history, allure)
        print(f"report of {parsed.results}: {parsed.output}/index.html")
    if sys.stdout.isatty():
        _serve(parsed.output, parsed.port)
    else:
        print(
            "browsers do not open it from a file: run make report on a terminal,"
            f" or python -m http.server -d {parsed.output}"
        )
    return 0


def _serve(directory: Path, port: int) -> None:
    import contextlib
    import webbrowser

    from ci.matrix.report import server_of

    with server_of(directory, port) as server, contextlib.suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address}  (stop with Ctrl-C)", flush=True)
        webbrowser.open(address)
        server.serve_forever()


def _allure() -> Allure:
    from ci.matrix.report import Allure

    return Allure.of(Path(sys.prefix))
