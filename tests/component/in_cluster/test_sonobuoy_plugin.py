"""The plugin's script tells Sonobuoy's worker that it is done, however the suite ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from session_affinity import about, bundle
from session_affinity.waiting import poll

PLUGIN = yaml.safe_load((bundle.MANIFESTS / "sonobuoy-plugin.yaml").read_text())
SUITE = """\
#!/bin/sh
files=$SONOBUOY_RESULTS_DIR/session-affinity
case $1 in
  check)
    echo "$@" >"$SONOBUOY_RESULTS_DIR/arguments"
    trap 'echo interrupted >"$files/report.yaml"; exit 2' TERM
    {body}
    ;;
  report) [ -e "$3" ] && echo "name: from $(cat "$3")";;
esac
"""


@dataclass(frozen=True)
class Plugin:
    """The plugin's container on this machine, with a stand-in for the suite."""

    directory: Path

    @property
    def done(self) -> Path:
        return self.directory / "results" / "done"

    def start(self, body: str) -> subprocess.Popen[bytes]:
        suite = self.directory / "bin" / "session-affinity"
        suite.parent.mkdir()
        suite.write_text(SUITE.format(body=body))
        suite.chmod(0o755)
        (self.directory / "results").mkdir()
        environment = {
            "PATH": f"{suite.parent}:{os.environ['PATH']}",
            "SONOBUOY_RESULTS_DIR": str(self.directory / "results"),
            "SESSION_AFFINITY_OPTIONS": "C10 rules",
        }
        argv = (*PLUGIN["spec"]["command"], *PLUGIN["spec"]["args"])
        return subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def results(self) -> dict[str, object]:
        with tarfile.open(self.done.read_text()) as archive:
            file = archive.extractfile("./sonobuoy_results.yaml")
            assert file is not None
            return dict(yaml.safe_load(file.read()))


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


@pytest.mark.parametrize("code", [0, 1, 10])
def test_the_results_are_those_of_the_report_and_the_exit_code_that_of_the_suite(plugin: Plugin, code: int) -> None:
    ended = plugin.start(f'echo report >"$files/report.yaml"; exit {code}').wait(timeout=20)

    assert ended == code
    assert plugin.results() == {"name": "from report"}


@pytest.mark.parametrize("body", ["exit 4", "kill -9 $$"])
def test_a_suite_that_wrote_no_report_is_undetermined(plugin: Plugin, body: str) -> None:
    assert plugin.start(body).wait(timeout=20) != 0

    assert plugin.results()["status"] == "undetermined"


def test_when_the_pod_is_ended_the_suite_ends_first(plugin: Plugin) -> None:
    process = plugin.start('touch "$files/running"; while :; do sleep 0.05; done')
    assert poll((plugin.directory / "results" / "session-affinity" / "running").exists, 20)

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert plugin.results() == {"name": "from interrupted"}


def test_options_of_the_user_reach_the_suite(plugin: Plugin) -> None:
    plugin.start("exit 0").wait(timeout=20)

    arguments = (plugin.directory / "results" / "arguments").read_text().split()
    assert arguments[-2:] == ["C10", "rules"]
    assert "http://127.0.0.1:8099/progress" in arguments


def test_the_plugin_has_the_image_of_this_version() -> None:
    assert PLUGIN["spec"]["image"] == about.IMAGE
    assert {"name": "SESSION_AFFINITY_IMAGE", "value": about.IMAGE} in PLUGIN["spec"]["env"]


def test_the_script_passes_shellcheck(tmp_path: Path) -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    script = tmp_path / "plugin.sh"
    script.write_text("#!/bin/sh\n" + PLUGIN["spec"]["args"][0])
    done = subprocess.run(
        (shellcheck, "--severity=warning", script), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
