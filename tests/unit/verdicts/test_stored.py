"""What the API stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affinity.verdicts.stored import judge_stored

if TYPE_CHECKING:
    from conftest import World


def test_the_stored_affinity_holds(world: World) -> None:
    assert judge_stored("C03", world.service, "ClientIP", 30).ok


def test_another_timeout_does_not_hold(world: World) -> None:
    verdict = judge_stored("C03", world.service, "ClientIP", 10800)

    assert verdict.explain().startswith("C03 does not hold on the API: ClientIP, 30 s")
    assert "expected: ClientIP, 10800 s" in verdict.explain()
