"""What a run leaves for programs beside the conformance report: verdict, metrics and a ConfigMap with all of it."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from session_affinity.cli.run_options import GroupedOption, heading
from session_affinity.conformance.metrics import metrics
from session_affinity.conformance.report import text as report_text
from session_affinity.conformance.verdict_line import verdict_line
from session_affinity.errors import ClusterError, SuiteError
from session_affinity.options import OUTPUT_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    from session_affinity.clusters.options import ClusterOptions

REPORT_KEY: Final = "report.yaml"
METRICS_KEY: Final = "metrics.prom"
VERDICT_KEY: Final = "verdict"
EXIT_CODE_KEY: Final = "exit-code"
REPORT_MARK: Final = "--- # conformance report"
"""The line before and after the report in the output of a run."""
MOST_BYTES: Final = 900_000
"""A ConfigMap takes 1 MiB (pkg/apis/core/validation: MaxSecretSize); a larger report is compressed."""
_OPTIONS: Final = (
    ("--verdict", "FILE", Path, "Write the verdict of the run as one line."),
    ("--metrics", "FILE", Path, "Write the result as metrics in the text format of Prometheus."),
    (
        "--config-map",
        "[NAMESPACE/]NAME",
        str,
        "Put report, verdict, metrics and exit code into this existing ConfigMap of the cluster that is judged.",
    ),
)


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options about what programs read: verdict, metrics, ConfigMap, progress, report."""
    for name, metavar, kind, text in reversed(_OPTIONS):
        function = click.option(
            name,
            cls=GroupedOption,
            heading=heading(OUTPUT_GROUP),
            metavar=metavar,
            type=click.Path(path_type=Path) if kind is Path else str,
            help=f"{text} Default: none.",
        )(function)
    function = click.option(
        "--progress-url",
        cls=GroupedOption,
        heading=heading(OUTPUT_GROUP),
        metavar="URL",
        help="Post the number of judged and failed claims there as JSON while the run goes on, as Sonobuoy's workers"
        " take it. Default: nowhere.",
    )(function)
    return click.option(
        "--print-report",
        cls=GroupedOption,
        heading=heading(OUTPUT_GROUP),
        is_flag=True,
        help="Print the conformance report at the end of the output. Default: off.",
    )(function)


@dataclass
class RunOutputs:
    """A plugin of pytest that keeps the report of a run; ``write`` writes what the options ask for.

    ``document`` is None until the run has ended, and after a run that has no result.
    """

    verdict: Path | None = None
    metrics: Path | None = None
    config_map: str | None = None
    print_report: bool = False
    document: Mapping[str, Any] | None = None

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Keep the report."""
        from session_affinity.plugin.conformance import DOCUMENT

        self.document = config.stash.get(DOCUMENT, None)

    def write(self, code: int, options: ClusterOptions) -> None:
        """Write what the options ask for about a run that ended with an exit code; raises SuiteError."""
        for file, text in (
            (self.metrics, metrics(code, self.document)),
            (self.verdict, f"{verdict_line(code, self.document)}\n"),
        ):
            if file is not None:
                try:
                    file.write_text(text, encoding="utf-8")
                except OSError as error:
                    raise SuiteError(
                        f"{file} cannot be written: {error.strerror}",
                        next_step="name a file in a directory that exists",
                    ) from error
        if self.print_report and self.document is not None:
            click.echo(f"\n{REPORT_MARK}\n{report_text(self.document)}{REPORT_MARK}")
        if self.config_map:
            store(options, self.config_map, result_data(code, self.document))


def result_data(code: int, document: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of the ConfigMap: keys of ``data``, and of ``binaryData`` for a report that is too long."""
    data = {
        VERDICT_KEY: verdict_line(code, document),
        EXIT_CODE_KEY: str(int(code)),
        METRICS_KEY: metrics(code, document),
    }
    if document is None:
        return {"data": data}
    report = report_text(document)
    if len(report.encode()) <= MOST_BYTES:
        return {"data": {**data, REPORT_KEY: report}}
    compressed = gzip.compress(report.encode(), mtime=0)
    return {"data": data, "binaryData": {f"{REPORT_KEY}.gz": base64.b64encode(compressed).decode()}}


def store(options: ClusterOptions, config_map: str, fields: Mapping[str, Any]) -> None:
    """Put fields into a ConfigMap of the cluster that the options name; raises ClusterError."""
    from session_affinity.clusters.external import access
    from session_affinity.clusters.external.rbac import ConfigMapName
    from session_affinity.kube import in_cluster
    from session_affinity.kube.api import Api, ApiError, PatchType
    from session_affinity.kube.resources import CONFIG_MAPS

    route = access.read(options.kubeconfig, options.context)
    name = ConfigMapName.of(config_map, in_cluster.namespace() or options.namespace or "")
    api = Api(route.kubeconfig, context=route.context, request_seconds=options.deadlines.api_request)
    try:
        # Whole maps, so that nothing of an earlier run stays.
        changes = [{"op": "add", "path": f"/{key}", "value": fields.get(key, {})} for key in ("data", "binaryData")]
        api.patch(CONFIG_MAPS, name.name, name.namespace, changes, PatchType.JSON)
    except ApiError as error:
        raise ClusterError(
            f"the result cannot be written into ConfigMap {name.namespace}/{name.name}: {error.what}",
            next_step="create the ConfigMap, and the rights that `session-affinity rbac --config-map` prints",
        ) from error
