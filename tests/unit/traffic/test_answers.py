"""Summaries of rounds of requests."""

from __future__ import annotations

import csv
import io

from session_affinity.traffic.answers import Answer, Answers, Target

TARGET, OTHER = Target("10.200.1.5", 9000), Target("10.200.1.6", 9000)


def answer(endpoint: str | None, target: Target = TARGET, error: str = "") -> Answer:
    return Answer(target, endpoint, 200 if endpoint else 0, 40000, 1, 0.001, error)


def test_one_endpoint_answers_all() -> None:
    answers = Answers((answer("webpod2"),) * 100)

    assert answers.only_endpoint == "webpod2"
    assert answers.summary() == "100 requests: webpod2 100"


def test_with_a_failed_request_there_is_no_only_endpoint() -> None:
    answers = Answers((answer("webpod2"), answer(None, error="curl 28: timed out")))

    assert answers.only_endpoint is None
    assert answers.summary() == "2 requests: webpod2 1, failed 1: curl 28: timed out (1)"


def test_several_endpoints_are_counted_most_first() -> None:
    answers = Answers((answer("webpod1"), answer("webpod3"), answer("webpod3")))

    assert answers.only_endpoint is None
    assert list(answers.by_endpoint.most_common()) == [("webpod3", 2), ("webpod1", 1)]


def test_the_order_of_endpoints_is_a_list_of_runs() -> None:
    names = ["webpod1"] * 3 + ["webpod2"] + ["webpod1"] * 8

    assert Answers(tuple(map(answer, names))).sequence() == "webpod1 x3, webpod2, webpod1 x8"


def test_a_long_order_is_shortened() -> None:
    names = ["webpod1", "webpod2"] * 10

    sequence = Answers(tuple(map(answer, names))).sequence(width=4)

    assert sequence == "webpod1, webpod2, webpod1, webpod2 and 16 more"


def test_answers_are_selected_by_target() -> None:
    answers = Answers((answer("webpod1"), answer("webpod2", OTHER), answer("webpod1")))

    assert len(answers.of(TARGET)) == 2
    assert answers.of(OTHER).only_endpoint == "webpod2"


def test_the_table_keeps_commas_and_quotes_in_errors() -> None:
    table = Answers((answer(None, error='curl 7: said "no", twice'),)).csv()

    (row,) = csv.DictReader(io.StringIO(table))
    assert row["error"] == 'curl 7: said "no", twice'
    assert (row["number"], row["target"], row["endpoint"]) == ("1", "10.200.1.5:9000", "")
