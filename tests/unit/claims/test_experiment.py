"""The false-alarm bounds follow from the sizes of the experiments."""

from __future__ import annotations

import math

import pytest

from session_affinity import experiment

ENDPOINTS = 3


def test_all_clients_stay_by_chance_as_rarely_as_the_trials_allow() -> None:
    assert pytest.approx((1 / ENDPOINTS) ** experiment.FREE_TRIALS) == experiment.ALL_STAY


def test_ports_agree_by_chance_as_rarely_as_their_number_allows() -> None:
    assert pytest.approx((1 / ENDPOINTS) ** (experiment.PORTS - 1)) == experiment.PORTS_FALSE_ALARM
    assert pytest.approx((1 / ENDPOINTS) ** experiment.PORTS) == experiment.PROTOCOLS_FALSE_ALARM


def test_a_pair_of_many_clients_agrees_at_all_services_as_rarely_as_the_bound_says() -> None:
    pairs = math.comb(experiment.MANY_CLIENTS, 2)
    agree = pairs * (1 / ENDPOINTS) ** experiment.MANY_CLIENTS_SERVICES

    assert pytest.approx(agree + experiment.MANY_CLIENTS_SPREAD) == experiment.MANY_CLIENTS_FALSE_ALARM
