"""Makes the conformance reports of kube-proxy: a run on an embedded cluster for each leg.

``python -m ci.reports`` (``make reports``) writes ``reports/kubernetes-kube-proxy/VERSION-MODE-report.yaml``, and then
the pages about them (``ci.implementations_page``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci import implementations_page
from ci.matrix.cli import embedded_legs
from ci.matrix.run import EXIT_CODES, run_command
from session_affinity import about, versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY
from session_affinity.command_line import run
from session_affinity.conformance.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from session_affinity.legs import Leg

DIRECTORY: Final = implementations_page.KUBE_PROXY
RESULTS: Final = Path("results/reports")
CLUSTER_NAME: Final = "reports"
_JUDGED: Final = (ExitCode.HOLDS, ExitCode.VIOLATED)
"""The exit codes of runs whose reports are kept; a run that could not judge every claim is repeated instead."""
_EXAMPLES: Final = """\
examples:
  python -m ci.reports --versions 1.37                    every mode, and dual-stack
  python -m ci.reports --versions 1.33 --modes iptables
  python -m ci.reports                                    every version in the cache

exit codes: 0 every leg was judged; 1 a leg was not, so its report is left as it was; 2 unusable options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the reports and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ci.reports",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--versions", nargs="*", default=[], metavar="1.37", help="or all [those in the cache]")
    parser.add_argument("--modes", nargs="*", default=[], metavar="MODE", help="proxy modes [all that a version has]")
    parser.add_argument(
        "--families",
        nargs="*",
        default=[],
        metavar="FAMILY",
        help="IP families: ipv4, ipv6, dual [ipv4 everywhere, and dual for the newest of the versions]",
    )
    parser.set_defaults(verb=_make)
    return run(parser, arguments)


def report_name(leg: Leg) -> str:
    """Return the name of a leg's report: ``v1.37.2-iptables-dual-report.yaml``."""
    return f"{_version(leg)}-{mode_of(leg)}-report.yaml"


def mode_of(leg: Leg) -> str:
    """Return the mode in a leg's report: that of kube-proxy, and the IP family where it is not IPv4."""
    return "-".join((leg.proxy_mode, *(() if leg.family == DEFAULT_IP_FAMILY else (leg.family,))))


def check_command(leg: Leg, report: Path) -> list[str]:
    """Return the command that judges every claim on a leg and writes its report."""
    return [
        *(sys.executable, "-m", "session_affinity", "check", *leg.options, "--cluster-name", CLUSTER_NAME),
        *("--report", str(report), "--implementation", str(DIRECTORY / "implementation.yaml")),
        *("--implementation-version", _version(leg), "--implementation-mode", mode_of(leg)),
    ]


def _make(parsed: argparse.Namespace) -> int:
    legs = embedded_legs(versions.load(), parsed.versions, parsed.modes, parsed.families)
    if about.commit().endswith("+"):
        print("this checkout has changes: the reports will name its commit with a plus")
    shutil.rmtree(RESULTS, ignore_errors=True)
    codes = {}
    for number, leg in enumerate(legs, start=1):
        print(f"\nreport {number} of {len(legs)}: {leg.name}", flush=True)
        codes[leg] = run_command(check_command(leg, RESULTS / report_name(leg)))
    # At the end: until then the checkout is as it was committed, and the reports name that commit.
    _keep(leg for leg, code in codes.items() if code in _JUDGED)
    implementations_page.write()
    for leg, code in codes.items():
        print(f"{leg.name}: {EXIT_CODES.get(code, f'exit code {code}')}; {report_name(leg)}")
    return 0 if all(code in _JUDGED for code in codes.values()) else 1


def _keep(legs: Iterable[Leg]) -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for leg in legs:
        shutil.copyfile(RESULTS / report_name(leg), DIRECTORY / report_name(leg))


def _version(leg: Leg) -> str:
    return f"v{versions.resolve(leg.kubernetes).release}"


if __name__ == "__main__":
    sys.exit(main())
