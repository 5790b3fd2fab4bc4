"""When a client is kept and when it is free, from trials with known silences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.scenarios.expiry.trials import Trial
from session_affinity.verdicts.expiry import (
    UntimelyError,
    Window,
    after_traffic,
    judge_free,
    judge_kept,
    judge_no_renewal_by_traffic,
    judge_renewed,
    just_after,
    just_before,
)
from tests.unit.verdicts.conftest import explained

if TYPE_CHECKING:
    from tests.unit.verdicts.conftest import World

HZ = 250


def trial(world: World, gap: float, *, moved: bool, reused: int = 0, renewed: bool = False) -> Trial:
    probe = "webpod2" if moved else "webpod1"
    contacts = (world.contact("webpod1", 100.0), world.contact(probe, 100.0 + gap))
    stamp = 4295540812
    return Trial(world.service, contacts, reused, (stamp,), stamp + round(gap * HZ), renewed, HZ)


def test_kept_clients_hold(world: World) -> None:
    verdict = judge_kept([trial(world, 29.02, moved=False)] * 6, just_before(30))

    assert verdict.ok
    assert verdict.headline == "sticky at 29.02 s, 6 of 6 stayed"


def test_one_client_that_moved_early_does_not_hold(world: World) -> None:
    trials = [trial(world, 29.02, moved=False)] * 5 + [trial(world, 29.04, moved=True)]

    verdict = judge_kept(trials, just_before(30))

    assert verdict.headline == "moved at 29.04 s, 5 of 6 stayed"
    assert "expected: answered by webpod1 again after 29.04 s" in explained(verdict)
    assert "seen: answered by webpod2" in explained(verdict)


@pytest.mark.parametrize("gap", [30.0, 30.5, 25.9], ids=["at-the-timeout", "too-late", "too-early"])
def test_a_probe_outside_its_window_is_no_evidence_that_a_client_is_kept(world: World, gap: float) -> None:
    with pytest.raises(UntimelyError, match=r"clients were to be silent for 26 s to 30 s"):
        judge_kept([trial(world, gap, moved=True)] * 6, just_before(30))


def test_a_few_late_probes_are_left_out(world: World) -> None:
    trials = [trial(world, 29.0, moved=False)] * 4 + [trial(world, 30.5, moved=True)] * 2

    assert judge_kept(trials, just_before(30)).headline == "sticky at 29.00 s, 4 of 4 stayed"


def test_free_clients_hold_when_one_moved(world: World) -> None:
    trials = [trial(world, 31.01, moved=True)] + [trial(world, 31.01, moved=False)] * 14

    verdict = judge_free(trials, just_after(30))

    assert verdict.ok
    assert verdict.headline == "free at 31.01 s, 1 of 15 moved"


def test_clients_that_all_stay_do_not_hold(world: World) -> None:
    verdict = judge_free([trial(world, 31.01, moved=False)] * 15, just_after(30))

    assert verdict.headline == "still bound at 31.01 s, 0 of 15 moved"
    assert "for free clients this has chance 7.0e-08" in explained(verdict)


def test_too_few_timely_probes_are_no_evidence_that_clients_are_bound(world: World) -> None:
    trials = [trial(world, 31.0, moved=False)] * 14 + [trial(world, 34.0, moved=False)]

    with pytest.raises(UntimelyError, match=r"34\.00 s"):
        judge_free(trials, just_after(30))


def test_a_move_before_the_timeout_is_no_proof_of_expiry(world: World) -> None:
    with pytest.raises(UntimelyError):
        judge_free([trial(world, 29.9, moved=True)] * 15, just_after(30))


def test_a_failed_request_does_not_hold_whenever_it_came(world: World) -> None:
    failed = replace(trial(world, 50, moved=False), contacts=(world.contact("webpod1", 100), world.contact(None, 150)))

    verdict = judge_free([failed] * 2, just_after(30))

    assert verdict.headline == "2 of 2 clients got no answer"
    assert "seen: curl 28: timed out" in explained(verdict)


def test_the_clients_clock_bounds_a_silence_without_stamps_of_the_node(world: World) -> None:
    unstamped = replace(trial(world, 29.0, moved=False), stamps=None)

    gap = unstamped.silence()

    assert (gap.low, gap.high) == pytest.approx((28.98, 29.02))
    assert judge_kept([unstamped], just_before(30)).ok


def test_a_silence_whose_bounds_reach_past_the_timeout_is_no_evidence(world: World) -> None:
    unstamped = replace(trial(world, 29.99, moved=True), stamps=None)

    with pytest.raises(UntimelyError):
        judge_kept([unstamped], just_before(30))


def sliding(world: World, renewed: int, probed: int, *, moved: bool = False) -> Trial:
    """Return a client that was asked again and once more, so many seconds after its first request."""
    stamp = 4295540812
    endpoints, moments = ("webpod1", "webpod1", "webpod2" if moved else "webpod1"), (0, renewed, probed)
    contacts = tuple(world.contact(name, 100 + at) for name, at in zip(endpoints, moments, strict=True))
    return Trial(world.service, contacts, 0, (stamp, stamp + renewed * HZ), stamp + probed * HZ, hz=HZ)


def test_a_renewed_client_is_judged_from_its_first_contact(world: World) -> None:
    assert judge_renewed([sliding(world, 10, 31)] * 6, 30).headline == "sticky at 31.00 s, 6 of 6 stayed"
    assert judge_renewed([sliding(world, 12, 40)] * 6, 30).headline == "sticky at 40.00 s, 6 of 6 stayed"
    assert not judge_renewed([sliding(world, 10, 31, moved=True)] * 6, 30).ok


@pytest.mark.parametrize(("renewed", "probed"), [(10, 29), (10, 41)])
def test_a_client_that_need_not_be_renewed_or_may_be_free_is_no_evidence(
    world: World, renewed: int, probed: int
) -> None:
    with pytest.raises(UntimelyError):
        judge_renewed([sliding(world, renewed, probed, moved=True)] * 6, 30)


def test_slow_machines_have_wider_windows() -> None:
    assert (just_before(30, 2), just_after(30, 2)) == (Window(22, 30), Window(30, 36))
    assert after_traffic(30) == Window(30, 45)
    assert just_before(30, 100) == Window(15, 30)


def test_traffic_that_renews_nothing_holds(world: World) -> None:
    trials = [trial(world, 31.0, moved=place < 9, reused=21) for place in range(15)]

    verdict = judge_no_renewal_by_traffic(trials, after_traffic(30))

    assert verdict.ok
    assert verdict.headline == "free at 31.00 s, 9 of 15 moved, after 315 requests on open connections"


def test_an_entry_that_traffic_renewed_does_not_hold(world: World) -> None:
    trials = [trial(world, 31.0, moved=False, reused=21, renewed=True)] * 15

    verdict = judge_no_renewal_by_traffic(trials, after_traffic(30))

    assert verdict.headline == "15 of 15 entries were renewed by 315 requests on open connections"


def test_clients_that_traffic_kept_bound_do_not_hold(world: World) -> None:
    trials = [trial(world, 31.0, moved=False, reused=21)] * 15

    assert not judge_no_renewal_by_traffic(trials, after_traffic(30)).ok


def test_connections_that_closed_are_no_evidence(world: World) -> None:
    with pytest.raises(UntimelyError, match="did not stay open"):
        judge_no_renewal_by_traffic([trial(world, 31.0, moved=True)] * 15, just_after(30))
