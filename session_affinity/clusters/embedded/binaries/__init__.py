"""Gets the programs of the embedded cluster: from the cache, from official releases, or built from Go modules.

The sources are tried in that order: this user's cache, then the official releases with their published checksums, then
a build of the Go modules. Before a program is installed in the cache, it is run and must print the pinned version.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from session_affinity.clusters.embedded.binaries import commands, pins, store
from session_affinity.clusters.embedded.binaries.cache import Cache
from session_affinity.clusters.embedded.binaries.gomodule import GoModules
from session_affinity.clusters.embedded.binaries.releases import Releases
from session_affinity.clusters.embedded.binaries.store import InstalledComponent, Origin
from session_affinity.errors import BinaryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.progress import Progress

__all__ = ["Binaries", "BinarySource", "Cache", "InstalledComponent", "Origin", "ensure", "missing_packages"]

SOURCE_VARIABLE: Final = "SESSION_AFFINITY_SOURCE"


class BinarySource(Protocol):
    """A source of components: official releases or builds."""

    def obtain(self, component: Component) -> InstalledComponent:
        """Install the component in the cache; raises BinaryError. The caller must have the component's lock."""


@dataclass(frozen=True)
class Binaries:
    """The installed programs of one Kubernetes release and of the components around it."""

    kubernetes: str
    components: Mapping[str, InstalledComponent]

    def __getitem__(self, program: str) -> Path:
        return self.paths[program]

    @property
    def paths(self) -> dict[str, Path]:
        """The path of every program, by its name."""
        return {
            name: component.directory / name for component in self.components.values() for name in component.programs
        }

    @property
    def directories(self) -> dict[str, Path]:
        """The directory of each component; the one of ``cni-plugins`` is a CNI binary directory."""
        return {name: component.directory for name, component in self.components.items()}

    @property
    def origins(self) -> dict[str, str]:
        """The version and origin of each component, as text for the report."""
        return {
            name: f"{component.version}, {'cache: ' if component.cached else ''}{component.origin}"
            for name, component in self.components.items()
        }


def ensure(
    kubernetes: str,
    progress: Progress,
    *,
    cache: Cache | None = None,
    sources: Sequence[BinarySource] | None = None,
    components: Sequence[Component] | None = None,
) -> Binaries:
    """Return the programs of a cluster of a Kubernetes release (``1.37.2``); get the ones that are not in the cache.

    Defaults come from the environment: SESSION_AFFINITY_CACHE, SESSION_AFFINITY_SOURCE (``auto``, ``release`` or
    ``build``) and SESSION_AFFINITY_RELEASES (a mirror). ``sources`` are tried in order; ``components`` defaults to the
    pinned ones. Raises BinaryError naming the step that failed; finished steps are kept for the next call.
    """
    cache = cache or Cache.of_user()
    installed: dict[str, InstalledComponent] = {}
    missing: list[Component] = []
    for component in pins.components(kubernetes) if components is None else components:
        in_cache = store.find(cache, component)
        if in_cache:
            installed[component.name] = in_cache
        else:
            missing.append(component)
    if missing:
        progress.note(f"not in the cache {cache.root}: {', '.join(str(component) for component in missing)}")
        sources = sources if sources is not None else _sources(cache, progress, os.environ)
        installer = _ComponentInstaller(cache, progress, sources)
        installed |= {component.name: installer.install(component) for component in missing}
    return Binaries(kubernetes, installed)


def missing_packages(kubernetes: str, progress: Progress) -> tuple[str, ...]:
    """Return the Debian packages that ``ensure`` needs for building C code on this machine; empty when it needs none.

    This call downloads components with C code when their releases are reachable, because then no compiler is needed.
    """
    cache = Cache.of_user()
    releases, modules = Releases(cache, progress, os.environ), GoModules(cache, progress, os.environ)
    for component in pins.components(kubernetes):
        if not modules.missing_requirement(component) or store.find(cache, component):
            continue
        try:
            ensure(kubernetes, progress, cache=cache, sources=(releases,), components=(component,))
        except BinaryError:
            return commands.COMPILER_PACKAGES
    return ()


class _ComponentInstaller:
    """Installs components from the first source that has them; notes each reason for a failed source once."""

    def __init__(self, cache: Cache, progress: Progress, sources: Sequence[BinarySource]) -> None:
        self._cache = cache
        self._progress = progress
        self._sources = sources
        self._noted: set[str] = set()

    def install(self, component: Component) -> InstalledComponent:
        lock = f"{component.name}-{component.version}-{component.arch}"
        with self._cache.locked(lock, str(component), self._progress), self._cache.write_errors():
            # Another run may have installed it while this one waited for the lock.
            installed = store.find(self._cache, component)
            if installed:
                return installed
            store.discard(self._cache.entry(component))
            *others, last = self._sources
            for source in others:
                try:
                    return source.obtain(component)
                except BinaryError as error:
                    self._note(component, error.what)
            return last.obtain(component)

    def _note(self, component: Component, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            self._progress.note(f"{component}: {reason}; building it instead")


def _sources(cache: Cache, progress: Progress, environment: Mapping[str, str]) -> tuple[BinarySource, ...]:
    releases, modules = Releases(cache, progress, environment), GoModules(cache, progress, environment)
    choices: dict[str, tuple[BinarySource, ...]] = {
        "auto": (releases, modules),
        "release": (releases,),
        "build": (modules,),
    }
    choice = environment.get(SOURCE_VARIABLE) or "auto"
    if choice not in choices:
        raise UsageError(
            f"{SOURCE_VARIABLE} is {choice!r}",
            next_step=f"set it to one of {', '.join(choices)}, or unset it",
        )
    return choices[choice]
