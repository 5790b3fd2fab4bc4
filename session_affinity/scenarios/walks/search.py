"""Search for a walk that a cluster makes wrongly, and shrink it to the few steps that cause the difference.

Hypothesis draws the steps; ``Search`` alone imports it, as only the extra [walk] has it. It draws each walk from a seed
of its own: from one seed it draws several walks in a row that differ in a few choices, and a walk takes a minute. It
does not shrink them: an attempt takes seconds on the cluster, and Hypothesis, which changes one choice after another,
makes hundreds. Here a walk ends at the first wait that shows a difference, steps about Services that do not differ are
left out in one attempt, and others by delta debugging (A. Zeller, 2002): halves, then quarters, then single steps.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from session_affinity.scenarios.walks.objects import Objects, service_name
from session_affinity.scenarios.walks.steps import Bind, Edit, SeededChoice, Wait
from session_affinity.scenarios.walks.walk import moves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from session_affinity.scenarios.walks.result import WalkResult
    from session_affinity.scenarios.walks.steps import Kind, Step
    from session_affinity.scenarios.walks.walk import Move

WALK_STEPS: Final = 150
"""How many steps are drawn for a walk; some do not apply."""
_MANY: Final = 1_000_000


class EndedError(BaseException):
    """A walk was drawn, or the time is over; no Exception, so that Hypothesis lets it through."""


@dataclass(frozen=True)
class Limits:
    """How long walks are made, and then how long a wrong one is shrunk, in seconds."""

    seconds: float
    shrinking_seconds: float


@dataclass
class Search:
    """The walks made so far. ``walk_once`` makes one on the cluster; ``nodes`` are its nodes.

    ``results`` are those of right walks; ``best`` is the simplest wrong walk with its result, and ``attempts`` is how
    many were made to shrink it.
    """

    nodes: Sequence[str]
    walk_once: Callable[[Sequence[Move]], WalkResult]
    limits: Limits
    results: list[WalkResult] = field(default_factory=list)
    best: tuple[tuple[Move, ...], WalkResult] | None = None
    attempts: int = 0
    _until: float = field(default=0.0, init=False)

    def find(self, kinds: Sequence[Kind], seed: int, length: int = WALK_STEPS) -> bool:
        """Make walks until one is wrong, and shrink it, or until the time is over; return whether one was.

        Raises NotReadyError where a node was late and nothing was wrong.
        """
        from hypothesis.configuration import set_hypothesis_home_dir

        with tempfile.TemporaryDirectory() as home:
            set_hypothesis_home_dir(home)
            try:
                self._draw(kinds, seed, length)
                if self.best is not None:
                    self._until = time.monotonic() + self.limits.shrinking_seconds
                    with suppress(EndedError):
                        self._shrink(self.best[1])
            finally:
                set_hypothesis_home_dir(None)
        return self.best is not None

    def _draw(self, kinds: Sequence[Kind], seed: int, length: int) -> None:
        """Make walks until one is wrong or the time is over."""
        self._until = time.monotonic() + self.limits.seconds
        with suppress(EndedError):
            for number in count():
                walk = moves(drawn(kinds, f"{seed}/{number}", length), self.nodes)
                self._require_time()
                result = self.walk_once(walk)
                if not result.is_right:
                    self.best = (walk[: result.moves], result.require_synced())
                    return
                self.results.append(result)

    def _shrink(self, result: WalkResult) -> None:
        """Leave steps out of the wrong walk, many at once and then fewer, until none can be; raises EndedError."""
        steps = self._narrowed(result)
        tried: set[tuple[int, ...]] = set()
        size = len(steps)
        while size:
            before = len(steps)
            start = 0
            while start < len(steps):
                part = moves((*steps[:start], *steps[start + size :]), self.nodes)
                key = tuple(id(move.step) for move in part)
                if key not in tried and (wrong := self._attempt(part)):
                    steps = wrong
                else:
                    start += size
                tried.add(key)
            # Once more with single steps after one was left out: an earlier one may no longer be needed.
            size = size // 2 or int(len(steps) < before)

    def _require_time(self) -> None:
        if time.monotonic() >= self._until:
            raise EndedError

    def _narrowed(self, result: WalkResult) -> tuple[Step, ...]:
        """Return the steps about the Services that differ if they are enough, and otherwise the whole wrong walk."""
        whole = self.best[0] if self.best else ()
        if result.wrong_services:
            narrow = moves(relevant(whole, closure(whole, result.wrong_services)), self.nodes)
            if len(narrow) < len(whole) and (wrong := self._attempt(narrow)):
                return wrong
        return tuple(move.step for move in whole)

    def _attempt(self, walk: tuple[Move, ...]) -> tuple[Step, ...]:
        """Make a part of the wrong walk; return the steps up to where a node was wrong, none if no node was."""
        if not walk:
            return ()
        self._require_time()
        self.attempts += 1
        result = self.walk_once(walk)
        if not result.is_wrong:
            return ()
        made = walk[: result.moves]
        if self.best is None or _cost(made) <= _cost(self.best[0]):
            self.best = (made, result)
        return tuple(move.step for move in made)


def closure(walk: Iterable[Move], services: Iterable[str]) -> frozenset[str]:
    """Return the names of Services, and of all slices that were ever labelled for one of them."""
    names = set(services)
    for move in walk:
        for state in move.states:
            names |= {name for name, manifest in state.slices.items() if service_name(manifest) in services}
    return frozenset(names)


def relevant(walk: Iterable[Move], names: frozenset[str]) -> tuple[Step, ...]:
    """Return the steps of a walk that concern some of these Services and slices, or nodes."""
    return tuple(move.step for move in walk if _concerns(move, names))


def _concerns(move: Move, names: frozenset[str]) -> bool:
    step = move.step
    if isinstance(step, Bind):
        return step.service in names
    if not isinstance(step, Edit):
        return True
    pairs = list(move.requests())
    changed = {name for before, after in pairs for name in _changed(before, after)}
    return not changed or bool(changed & names)


def _changed(before: Objects, after: Objects) -> Iterable[str]:
    for old, new in ((before.services, after.services), (before.slices, after.slices)):
        yield from (name for name in {**old, **new} if old.get(name) is not new.get(name))


def _cost(walk: Sequence[Move]) -> tuple[int, int]:
    """Return what makes one walk simpler than another: fewer steps, then fewer waits."""
    waits = sum(isinstance(move.step, Wait) for move in walk)
    return len(walk) - waits, waits


def drawn(kinds: Sequence[Kind], seed: str, length: int) -> tuple[Step, ...]:
    """Return the first ``length`` steps that Hypothesis draws from a seed.

    They are the same for the same versions of Hypothesis and of this package, installed in the same way: Hypothesis
    prefers numbers that it finds in modules outside site-packages (hypothesis.internal.conjecture.providers).
    """
    import hypothesis
    from hypothesis import stateful

    found: tuple[Step, ...] = ()

    def take(steps: Sequence[Step]) -> None:
        nonlocal found
        found = tuple(steps)
        # Its first example has the simplest choices: a few steps of one kind.
        if len(set(map(type, steps))) > 1:
            raise EndedError

    settings = hypothesis.settings(
        max_examples=_MANY,
        stateful_step_count=length,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
        print_blob=False,
    )
    with suppress(EndedError):
        stateful.run_state_machine_as_test(hypothesis.seed(seed)(_machine(kinds, take)), settings=settings)
    return found


def _machine(kinds: Sequence[Kind], take: Callable[[Sequence[Step]], None]) -> Any:
    """Return a state machine that draws steps, and calls ``take`` with them at its end."""
    from hypothesis import stateful
    from hypothesis import strategies as st

    class WalkMachine(stateful.RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[Step] = []

        def teardown(self) -> None:
            take(self.steps)

    def rule(kind: Kind) -> Any:
        def draw_step(self: WalkMachine, seed: int) -> None:
            self.steps.append(kind.draw(SeededChoice(seed)))

        return stateful.rule(seed=st.integers(0, _MANY))(draw_step)

    for kind in kinds:
        for number in range(kind.weight):
            setattr(WalkMachine, f"{kind.name.replace(' ', '_')}_{number}", rule(kind))
    return WalkMachine
