"""Runs kind through pytest-kubernetes: every workaround for that plugin (version 0.9.0) is in this module.

The comment or docstring of each override explains why the method of the plugin cannot be used.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from pytest_kubernetes.options import ClusterOptions
from pytest_kubernetes.providers.kind import KindManagerBase

from session_affinity.clusters.kind.process import run_streaming
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SHOWN_CHARACTERS: Final = 4000


class KindManager(KindManagerBase):
    """Creates and deletes clusters and loads images through pytest-kubernetes, without the plugin's side effects.

    ``on_line`` is called with each line of kind's output.
    """

    def __init__(
        self,
        config: Path,
        kubeconfig: Path,
        *,
        kubernetes: str,
        environment: Mapping[str, str],
        on_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        # The configuration must contain the name: given a configuration, the plugin passes neither --name nor --image,
        # and would never delete a cluster that kind names differently from the plugin.
        super().__init__(provider_config=str(config), kubeconfig=kubeconfig)
        self._environment = dict(environment)
        self._on_line = on_line
        self._created_here = False
        # Unless both are given, the plugin sets a version and a timeout of its own (1.25.3, 240 s).
        self._options = ClusterOptions(
            cluster_name=self.cluster_name,
            api_version=kubernetes,
            kubeconfig_path=kubeconfig,
            provider_config=config,
            cluster_timeout=round(DEFAULTS.kind_command),
        )

    def create_cluster(self) -> None:
        """Create the cluster; raises ClusterError with kind's output. A failed cluster stays, so that it has logs."""
        # The plugin appends to the list that it is given, so it gets a new one each time.
        self.create(self._options, options=["--retain"])

    def delete_cluster(self) -> None:
        """Delete the cluster's nodes, whoever created them, and our kubeconfig; raises ClusterError."""
        # The plugin does not delete a cluster that existed before its create().
        self._created = True
        self.delete()

    def load_image(self, image: str) -> None:
        """Load an image of the engine onto the nodes; raises ClusterError.

        The plugin gives this command 240 s, whatever timeout the cluster has.
        """
        self._exec(["load", "docker-image", image, "--name", self.cluster_name])

    def load_archive(self, archive: Path) -> None:
        """Load the images of an archive onto the nodes; raises ClusterError.

        Needed for podman: `kind load docker-image` reads from docker there too.
        """
        self._exec(["load", "image-archive", str(archive), "--name", self.cluster_name])

    def export_logs(self, directory: Path, *, timeout: float) -> None:
        """Write the logs of the nodes and their pods to a directory; raises ClusterError."""
        self._exec(["export", "logs", str(directory), "--name", self.cluster_name], timeout=timeout)

    def ready(self, timeout: int = 20) -> bool:
        """Return whether this object has created the cluster.

        The plugin would run kubectl for at least 2 s: before creation with an empty kubeconfig, which inside a pod
        means the surrounding cluster; afterwards for the API server only, not for nodes, CNI and kube-proxy.
        """
        del timeout
        return self._created_here

    def _on_create(self, cluster_options: ClusterOptions, **kwargs: list[str]) -> None:
        super()._on_create(cluster_options, **kwargs)
        self._created_here = True

    def _on_delete(self) -> None:
        # Without --kubeconfig kind opens, locks and writes the user's kubeconfig.
        self._exec(["delete", "cluster", "--name", self.cluster_name, "--kubeconfig", str(self.kubeconfig)])

    def _exec(
        self,
        arguments: Sequence[str],
        additional_env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run kind with these arguments, without a shell, and pass on its output line by line; raises ClusterError.

        The plugin joins the arguments for a shell, which splits paths at spaces; after a timeout it kills only that
        shell; it passes on no output while kind runs; and its errors lack kind's output.
        """
        seconds = timeout or self._cluster_options.cluster_timeout
        command = f"kind {' '.join(arguments[:2])}"
        try:
            done = run_streaming(
                [str(self._exec_path), *arguments],
                timeout=seconds,
                environment={**self._environment, **(additional_env or {})},
                on_line=self._on_line,
            )
        except subprocess.TimeoutExpired as error:
            output = (error.stderr or b"").decode(errors="replace")
            raise ClusterError(f"{command} did not end within {seconds:g} s; its output:\n{_tail(output)}") from error
        except OSError as error:
            raise ClusterError(
                f"{command}: kind cannot be run: {error}", next_step="check the installation of kind: kind version"
            ) from error
        if done.returncode != 0:
            raise ClusterError(f"{command} ended with exit code {done.returncode}; its output:\n{_tail(done.stderr)}")
        return done


def _tail(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.strip()[-_SHOWN_CHARACTERS:].splitlines()) or "    (no output)"
