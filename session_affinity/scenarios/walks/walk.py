"""A walk: the steps that apply, each with the states it leads through; drawn from a seed, and printed as commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.scenarios.walks import node_steps, service_edits, slice_edits
from session_affinity.scenarios.walks.commands import commands
from session_affinity.scenarios.walks.objects import PREFIX, Objects, placed, requests
from session_affinity.scenarios.walks.steps import Bind, Edit, Kind, Restart, Scope, SeededChoice, Step, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

KINDS: Final = (*slice_edits.KINDS, *service_edits.KINDS, *node_steps.KINDS)
"""All kinds of steps; the names differ."""
_WAIT: Final = Wait()


@dataclass(frozen=True)
class Move:
    """A step that applies, in the state that it begins with; ``states`` are those that it leads through."""

    step: Step
    before: Objects
    states: tuple[Objects, ...] = ()

    @property
    def after(self) -> Objects:
        """The state that it ends with."""
        return self.states[-1] if self.states else self.before

    def requests(self) -> Iterator[tuple[Objects, Objects]]:
        """Yield the states before and after each part of the step."""
        yield from zip((self.before, *self.states), self.states, strict=False)


def kinds(scope: Scope) -> tuple[Kind, ...]:
    """Return the kinds of steps of a walk that may change so much."""
    return tuple(kind for kind in KINDS if kind.scope <= scope)


def moves(steps: Iterable[Step], nodes: Sequence[str]) -> tuple[Move, ...]:
    """Return the steps that apply when a walk begins with nothing; at its end all kube-proxies work and are compared.

    A wait after a wait is left out, and so is a wait before the first edit.
    """
    walk: list[Move] = []
    for step in steps:
        _append(walk, step, nodes)
    return _ended(walk)


def seeded_walk(seed: int, length: int, among: Sequence[Kind], nodes: Sequence[str]) -> tuple[Move, ...]:
    """Return a walk of ``length`` steps that apply, and a few more to end it; the same for a seed anywhere."""
    choose = SeededChoice(seed)
    by_weight = [kind for kind in among for _ in range(kind.weight)]
    walk: list[Move] = []
    while len(walk) < length:
        _append(walk, choose(by_weight).draw(choose), nodes)
    return _ended(walk)


def script(walk: Iterable[Move], prefix: str = PREFIX) -> str:
    """Return the steps of a walk as numbered commands; ``prefix`` is what the names of objects begin with."""
    lines: list[str] = []
    steps = [move for move in walk if not isinstance(move.step, Wait)]
    for number, move in enumerate(steps, 1):
        lines.append(f"# {number}. {title(move)}")
        lines += [
            command
            for before, after in move.requests()
            for request in requests(before, after)
            for command in commands(placed(request, prefix))
        ]
    return "\n".join(lines)


def title(move: Move) -> str:
    """Return what a step does in words."""
    step, objects = move.step, move.before
    if isinstance(step, Edit):
        return step.title
    if isinstance(step, Restart):
        return f"restart kube-proxy on {objects.node(step.node)}"
    if isinstance(step, Bind):
        return f"bind client {step.client} to an endpoint of Service {step.service} on {objects.node(step.node)}"
    return "wait until all nodes have the expected rules"


def _append(walk: list[Move], step: Step, nodes: Sequence[str]) -> None:
    """Append a step to a walk if it applies there."""
    objects = walk[-1].after if walk else Objects(tuple(nodes))
    move = _move(step, objects)
    if move and not (isinstance(step, Wait) and (not walk or isinstance(walk[-1].step, Wait))):
        walk.append(move)


def _ended(walk: Sequence[Move]) -> tuple[Move, ...]:
    ended = list(walk)
    if ended and (objects := ended[-1].after).faults:
        ended.append(Move(node_steps.END_FAULTS, objects, (objects.without_faults(),)))
    if ended and not isinstance(ended[-1].step, Wait):
        ended.append(Move(_WAIT, ended[-1].after))
    return tuple(ended)


def _move(step: Step, objects: Objects) -> Move | None:
    if isinstance(step, Edit):
        states = tuple(step.change(objects))
        return Move(step, objects, states) if states else None
    if isinstance(step, (Restart, Bind)) and objects.node(step.node) in objects.faults:
        return None
    if isinstance(step, Bind) and step.service not in objects.services:
        return None
    return Move(step, objects)
