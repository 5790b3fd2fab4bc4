"""A client with the credentials of a kubeconfig, which leaves no file when its process is killed.

TLS connections are opened with files, so the Kubernetes client library writes the certificates and keys that are in a
kubeconfig itself to temporary files, which it removes when the process ends. A killed process leaves them, a private
key among them. Here they are files in memory, which end with the process. Systems without these (``memfd_create(2)``
is of Linux) have the library's files.
"""

from __future__ import annotations

import copy
import functools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from session_affinity.kube import client_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubernetes.client.api_client import ApiClient
    from kubernetes.client.configuration import Configuration

_FILES: Final = ("ssl_ca_cert", "cert_file", "key_file")
"""The attributes of a Configuration that are paths of certificates and keys."""


def new_client(kubeconfig: Path, context: str | None, configuration: Configuration | None = None) -> ApiClient:
    """Return a client for a context, or for the current one; raises what the library does for a wrong kubeconfig."""
    configuration = client_library.Configuration() if configuration is None else configuration
    if not hasattr(os, "memfd_create"):
        client_library.load_kube_config(str(kubeconfig), context, configuration, persist_config=False)
        return client_library.ApiClient(configuration)
    with tempfile.TemporaryDirectory() as files:
        client_library.load_kube_config(
            str(kubeconfig), context, configuration, persist_config=False, temp_file_path=files
        )
        paths = {name: _in_memory(getattr(configuration, name), files) for name in _FILES}
    _keep(configuration, paths)
    return client_library.ApiClient(configuration)


def _in_memory(path: str | None, files: str) -> str | None:
    """Return the path of a file in memory instead of a temporary file in ``files``; other paths as they are."""
    if path is None or not Path(path).is_relative_to(files):
        return path
    return _memory_file(Path(path).read_bytes())


@functools.cache
def _memory_file(content: bytes) -> str:
    """Return a path that only this process can open; equal contents have one file for as long as the process lives."""
    descriptor = os.memfd_create("session-affinity-credentials")
    os.write(descriptor, content)
    return f"/proc/self/fd/{descriptor}"


def _keep(configuration: Configuration, paths: Mapping[str, str | None]) -> None:
    """Set the paths for good: the library sets its own again whenever it looks whether a token has expired."""
    for name, path in paths.items():
        setattr(configuration, name, path)
    library_hook = configuration.refresh_api_key_hook
    if library_hook is None:
        return

    def renew(renewed: Configuration) -> None:
        # The copy has the same dictionary of tokens, and paths of its own.
        library_hook(copy.copy(renewed))

    configuration.refresh_api_key_hook = renew
