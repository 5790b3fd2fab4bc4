"""The metrics of a run are in Prometheus' text format and have every claim that was judged."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.conformance import report
from session_affinity.conformance.metrics import metrics
from session_affinity.conformance.result import Outcome, SkipReason
from tests.unit.conformance.conftest import CATALOGUE, run_of

if TYPE_CHECKING:
    from session_affinity.conformance.report import RunDescription

pytestmark = pytest.mark.unit

SAMPLE = re.compile(r'session_affinity_[a-z_]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? -?[0-9.e+]+')


def test_every_line_is_a_sample_or_describes_the_next(description: RunDescription) -> None:
    document = report.document(run_of(C10=Outcome.FAILED, C61=SkipReason.NOT_APPLICABLE), CATALOGUE, description)

    lines = metrics(1, document).splitlines()

    assert [line for line in lines if not (line.startswith("# ") or SAMPLE.fullmatch(line))] == []
    assert "session_affinity_exit_code 1" in lines
    assert 'session_affinity_claims{result="failed"} 1' in lines
    assert 'session_affinity_claim{claim="C10",subject="distribution",result="failed"} 1' in lines
    assert not [line for line in lines if 'claim="C61"' in line]
    assert "session_affinity_run_timestamp_seconds 1795665600" in lines
    assert 'session_affinity_nodes{state="judged"} 4' in lines


def test_each_metric_is_described_once(description: RunDescription) -> None:
    document = report.document(run_of(), CATALOGUE, description)

    described = re.findall(r"^# TYPE (\S+) gauge$", metrics(0, document), re.MULTILINE)

    assert len(described) == len(set(described)) == 7


def test_characters_that_would_end_a_label_are_escaped(description: RunDescription) -> None:
    document = report.document(run_of(), CATALOGUE, replace(description, suite_version='0"\n\\'))

    assert r'version="0\"\n\\"' in metrics(0, document)


def test_a_run_without_a_result_has_its_exit_code() -> None:
    assert metrics(4, None).splitlines()[-1] == "session_affinity_exit_code 4"
