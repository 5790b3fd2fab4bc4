"""What a run writes for programs, and the progress that it posts, against a server in this process."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.cli import run_outputs
from session_affinity.cli.progress_posts import ProgressPosts
from session_affinity.cli.run_outputs import RunOutputs
from session_affinity.clusters.options import ClusterOptions
from session_affinity.conformance import report
from session_affinity.conformance.result import Outcome
from session_affinity.errors import ClusterError, SuiteError, UsageError
from tests.unit.conformance import conftest as small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from session_affinity.conformance.report import RunDescription

description = small.description


class Server(BaseHTTPRequestHandler):
    """Answers every request with ``status`` and keeps it."""

    requests: list[tuple[str, str, Any]]
    status = 200

    def _serve(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        self.requests.append((self.command, self.path.partition("?")[0], body))
        self.send_response(self.status)
        content = b'{"metadata": {"name": "x"}}'
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PATCH = do_POST = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of the server."""
    Server.requests, Server.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def options(server: str, tmp_path: Path) -> ClusterOptions:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    return ClusterOptions(kubeconfig=tmp_path / "kubeconfig", namespace="team")


@pytest.fixture
def document(description: RunDescription) -> dict[str, Any]:
    return report.document(small.run_of(C10=Outcome.FAILED), small.CATALOGUE, description)


def test_the_config_map_gets_report_verdict_metrics_and_exit_code(
    options: ClusterOptions, document: dict[str, Any]
) -> None:
    RunOutputs(config_map="result", document=document).write(1, options)

    ((method, path, changes),) = Server.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/team/configmaps/result")
    stored = {change["path"]: change["value"] for change in changes}
    assert stored["/binaryData"] == {}
    assert yaml.safe_load(stored["/data"]["report.yaml"]) == document
    assert stored["/data"]["exit-code"] == "1"
    assert stored["/data"]["verdict"].startswith("violated: 5 passed, 1 failed; failed: C10; ")
    assert "session_affinity_exit_code 1" in stored["/data"]["metrics.prom"]


def test_a_report_that_is_too_long_for_a_config_map_is_compressed(document: dict[str, Any]) -> None:
    long = {**document, "command": "x" * run_outputs.MOST_BYTES}

    fields = run_outputs.result_data(0, long)

    assert "report.yaml" not in fields["data"]
    assert yaml.safe_load(gzip.decompress(base64.b64decode(fields["binaryData"]["report.yaml.gz"]))) == long


def test_a_run_without_a_result_leaves_no_report_of_an_earlier_one(options: ClusterOptions) -> None:
    RunOutputs(config_map="other/result").write(4, options)

    ((_, path, changes),) = Server.requests
    assert path == "/api/v1/namespaces/other/configmaps/result"
    assert set(changes[0]["value"]) == {"verdict", "exit-code", "metrics.prom"}


def test_a_config_map_that_cannot_be_written_is_an_error_with_the_next_step(options: ClusterOptions) -> None:
    Server.status = 403

    with pytest.raises(ClusterError, match=r"ConfigMap team/result: (?s:.*)session-affinity rbac --config-map"):
        RunOutputs(config_map="result").write(0, options)


def test_a_config_map_without_a_namespace_is_refused(options: ClusterOptions) -> None:
    with pytest.raises(UsageError, match="write NAMESPACE/result"):
        RunOutputs(config_map="result").write(0, ClusterOptions(kubeconfig=options.kubeconfig))


def test_verdict_and_metrics_are_files(document: dict[str, Any], tmp_path: Path) -> None:
    outputs = RunOutputs(tmp_path / "verdict", tmp_path / "metrics", document=document)

    outputs.write(1, ClusterOptions())

    assert (tmp_path / "verdict").read_text().count("\n") == 1
    assert "session_affinity_exit_code 1\n" in (tmp_path / "metrics").read_text()
    with pytest.raises(SuiteError, match="verdict cannot be written: No such file"):
        RunOutputs(tmp_path / "no" / "verdict").write(0, ClusterOptions())


def test_progress_is_posted_at_the_beginning_and_at_the_end(server: str) -> None:
    posts = ProgressPosts(f"{server}/progress")
    posts.pytest_collection_finish(SimpleNamespace(items=[1, 2, 3]))  # type: ignore[arg-type]
    for claim, failed in (("C10", False), ("C16", True)):
        for when in ("setup", "call", "teardown"):
            is_failure = failed and when == "call"
            posts.pytest_runtest_logreport(
                SimpleNamespace(  # type: ignore[arg-type]
                    user_properties=[("claim", claim)],
                    when=when,
                    passed=not is_failure,
                    failed=is_failure,
                    outcome="failed" if is_failure else "passed",
                )
            )
    posts.pytest_sessionfinish()

    updates = [body for _, _, body in Server.requests]
    assert updates[0] == {"msg": "starting", "completed": 0, "total": 3, "failures": []}
    assert updates[-1] == {"msg": "finished", "completed": 2, "total": 3, "failures": ["C16"]}


def test_progress_that_cannot_be_posted_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    posts = ProgressPosts("http://127.0.0.1:1/progress")
    posts.pytest_sessionfinish()
    posts.pytest_sessionfinish()

    assert capsys.readouterr().err.count("progress cannot be posted to http://127.0.0.1:1/progress") == 1
