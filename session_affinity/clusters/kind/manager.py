"""kind through pytest-kubernetes: all that has to be known of that plugin (version 0.9.0) stands here.

Each override gives the reason why the plugin's own way is not taken.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from pytest_kubernetes.options import ClusterOptions
from pytest_kubernetes.providers.kind import KindManagerBase

from session_affinity.clusters.kind.process import run_told
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SAID: Final = 4000


class KindManager(KindManagerBase):
    """Creates, deletes and loads images as pytest-kubernetes does, without its side effects."""

    def __init__(
        self,
        config: Path,
        kubeconfig: Path,
        *,
        kubernetes: str,
        environment: Mapping[str, str],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        # The name has to be in the configuration: with one, the plugin passes neither --name nor --image, and a
        # cluster that kind names otherwise than the plugin would never be deleted.
        super().__init__(provider_config=str(config), kubeconfig=kubeconfig)
        self._environment = dict(environment)
        self._told = told
        self._created_here = False
        # Options always carry a version and a timeout of the plugin's own (1.25.3, 240 s) unless both are given.
        self._options = ClusterOptions(
            cluster_name=self.cluster_name,
            api_version=kubernetes,
            kubeconfig_path=kubeconfig,
            provider_config=config,
            cluster_timeout=round(DEFAULTS.kind_command),
        )

    def create_cluster(self) -> None:
        """Create the cluster; raises ClusterError with what kind said. What it began stays, for its logs."""
        # The plugin appends to the list that it is given, so it gets a new one each time.
        self.create(self._options, options=["--retain"])

    def delete_cluster(self) -> None:
        """Delete the cluster's nodes and our kubeconfig, whoever made them; raises ClusterError."""
        # The plugin deletes nothing that was there before its create().
        self._created = True
        self.delete()

    def load_image(self, image: str) -> None:
        """Put an image of the engine on the nodes: the plugin gives that 240 s, whatever the cluster is given."""
        self._exec(["load", "docker-image", image, "--name", self.cluster_name])

    def load_archive(self, archive: Path) -> None:
        """Load images from a file: `kind load docker-image` asks docker for them even where podman is used."""
        self._exec(["load", "image-archive", str(archive), "--name", self.cluster_name])

    def export_logs(self, directory: Path, *, timeout: float) -> None:
        """Write the logs of the nodes and their pods to a directory; raises ClusterError."""
        self._exec(["export", "logs", str(directory), "--name", self.cluster_name], timeout=timeout)

    def ready(self, timeout: int = 20) -> bool:
        """Answer what is known already.

        The plugin would ask kubectl, at least 2 s long: before creating, with an empty kubeconfig, which inside a
        pod means the cluster around it; afterwards only for the API server, not for nodes, CNI and kube-proxy.
        """
        del timeout
        return self._created_here

    def _on_create(self, cluster_options: ClusterOptions, **kwargs: list[str]) -> None:
        super()._on_create(cluster_options, **kwargs)
        self._created_here = True

    def _on_delete(self) -> None:
        # Without --kubeconfig kind opens, locks and writes the user's.
        self._exec(["delete", "cluster", "--name", self.cluster_name, "--kubeconfig", str(self.kubeconfig)])

    def _exec(
        self,
        arguments: Sequence[str],
        additional_env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kind by its argv, telling what it says.

        The plugin joins words for a shell, which takes paths with spaces apart; kills only that shell when time is
        over; says nothing meanwhile; and raises an error without what kind said.
        """
        seconds = timeout or self._cluster_options.cluster_timeout
        command = f"kind {' '.join(arguments[:2])}"
        try:
            done = run_told(
                [str(self._exec_path), *arguments],
                timeout=seconds,
                environment={**self._environment, **(additional_env or {})},
                told=self._told,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode(errors="replace")
            raise ClusterError(f"{command} did not end within {seconds:g} s; it said:\n{_last(said)}") from error
        except OSError as error:
            raise ClusterError(f"{command}: kind cannot be run: {error}") from error
        if done.returncode != 0:
            raise ClusterError(f"{command} ended with {done.returncode}; it said:\n{_last(done.stderr)}")
        return done


def _last(said: str) -> str:
    return "\n".join(f"    {line}" for line in said.strip()[-_SAID:].splitlines()) or "    (nothing)"
