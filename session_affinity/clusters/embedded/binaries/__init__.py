"""Where the programs of the embedded cluster come from.

First this user's cache, then the official releases with their published checksums, then a build of the Go modules.
Every program that is used was whole, ran, and told the pinned version when it was installed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from session_affinity.clusters.embedded.binaries import commands, pins, store
from session_affinity.clusters.embedded.binaries.cache import Cache
from session_affinity.clusters.embedded.binaries.gomodule import GoModules
from session_affinity.clusters.embedded.binaries.releases import Releases
from session_affinity.clusters.embedded.binaries.store import Installed, Origin
from session_affinity.errors import BinaryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.progress import Progress

__all__ = ["Binaries", "Cache", "Installed", "Origin", "Source", "ensure", "missing_packages"]

SOURCE_VARIABLE: Final = "SESSION_AFFINITY_SOURCE"


class BinarySource(Protocol):
    """A place components come from."""

    def obtain(self, component: Component) -> Installed:
        """Install the component into the cache, whose lock for it is held. Raises BinaryError if it cannot."""


@dataclass(frozen=True)
class Binaries:
    """The programs of one Kubernetes release and of the components around it, all ready to run."""

    kubernetes: str
    components: Mapping[str, Installed]

    def __getitem__(self, program: str) -> Path:
        return self.paths[program]

    @property
    def paths(self) -> dict[str, Path]:
        """Every program by its name."""
        return {name: found.directory / name for found in self.components.values() for name in found.programs}

    @property
    def directories(self) -> dict[str, Path]:
        """The directory of each component; that of ``cni-plugins`` is a CNI binary directory."""
        return {name: found.directory for name, found in self.components.items()}

    @property
    def origins(self) -> dict[str, str]:
        """Where each component came from, in words for a report."""
        return {
            name: f"{found.version}, {'cache: ' if found.cached else ''}{found.origin}"
            for name, found in self.components.items()
        }


def ensure(
    kubernetes: str,
    progress: Progress,
    *,
    cache: Cache | None = None,
    sources: Sequence[BinarySource] | None = None,
    components: Sequence[Component] | None = None,
) -> Binaries:
    """Return every program a cluster of that Kubernetes release (``1.37.2``) runs, getting those not in the cache.

    SESSION_AFFINITY_CACHE, SESSION_AFFINITY_SOURCE (``auto``, ``release`` or ``build``) and SESSION_AFFINITY_RELEASES
    (a mirror) say where, unless ``cache`` and ``sources`` (asked in turn) do; ``components`` are the pinned ones unless
    others are given. Raises BinaryError naming the step that failed; what was done until then is kept.
    """
    cache = cache or Cache.of_user()
    found: dict[str, Installed] = {}
    missing: list[Component] = []
    for component in pins.components(kubernetes) if components is None else components:
        installed = store.find(cache, component)
        if installed:
            found[component.name] = installed
        else:
            missing.append(component)
    if missing:
        progress.note(f"not in the cache {cache.root}: {', '.join(str(component) for component in missing)}")
        getter = _Getter(cache, progress, sources if sources is not None else _sources(cache, progress, os.environ))
        found |= {component.name: getter.get(component) for component in missing}
    return Binaries(kubernetes, found)


def missing_packages(kubernetes: str, progress: Progress) -> tuple[str, ...]:
    """Return the Debian packages without which ``ensure`` would fail: a compiler, where C code has to be built here.

    What contains C code is downloaded by this call where that is possible, so that no compiler is asked for in vain.
    """
    cache = Cache.of_user()
    releases, modules = Releases(cache, progress, os.environ), GoModules(cache, progress, os.environ)
    for component in pins.components(kubernetes):
        if not modules.lacking(component) or store.find(cache, component):
            continue
        try:
            ensure(kubernetes, progress, cache=cache, sources=(releases,), components=(component,))
        except BinaryError:
            return commands.COMPILER_PACKAGES
    return ()


class _Getter:
    """Goes through the sources, saying once why one of them was of no use."""

    def __init__(self, cache: Cache, progress: Progress, sources: Sequence[BinarySource]) -> None:
        self._cache = cache
        self._progress = progress
        self._sources = sources
        self._said: set[str] = set()

    def get(self, component: Component) -> Installed:
        lock = f"{component.name}-{component.version}-{component.arch}"
        with self._cache.locked(lock, str(component), self._progress), self._cache.refusals():
            # Another run may have installed it while this one waited.
            found = store.find(self._cache, component)
            if found:
                return found
            store.discard(self._cache.entry(component))
            *others, last = self._sources
            for source in others:
                try:
                    return source.obtain(component)
                except BinaryError as error:
                    self._say(component, error.what)
            return last.obtain(component)

    def _say(self, component: Component, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._progress.note(f"{component}: {what}; building it instead")


def _sources(cache: Cache, progress: Progress, user: Mapping[str, str]) -> tuple[BinarySource, ...]:
    releases, modules = Releases(cache, progress, user), GoModules(cache, progress, user)
    choices: dict[str, tuple[BinarySource, ...]] = {
        "auto": (releases, modules),
        "release": (releases,),
        "build": (modules,),
    }
    wanted = user.get(SOURCE_VARIABLE) or "auto"
    if wanted not in choices:
        raise UsageError(
            f"{SOURCE_VARIABLE} is {wanted!r}",
            next_step=f"set it to one of {', '.join(choices)}, or not at all",
        )
    return choices[wanted]
