"""Read a kubeconfig and check that the API server it names answers; each failure is one message."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from session_affinity.deadlines import DEFAULTS, Deadlines
from session_affinity.errors import ClusterError, UsageError
from session_affinity.kube import in_cluster
from session_affinity.kube.api import Api, ApiError

if TYPE_CHECKING:
    from pathlib import Path

REJECTED: Final = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What the client raises for a kubeconfig beside an exception of its own; the last three for a value of the wrong type.
"""
IN_CLUSTER: Final = "in-cluster"
"""The name of the cluster in whose pod the suite runs."""
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy")


@dataclass(frozen=True)
class Access:
    """The cluster of a kubeconfig: the context that is used, its server and its user."""

    kubeconfig: Path
    context: str
    server: str
    user: str

    def __str__(self) -> str:
        return f"{self.server} (context {self.context} of {self.kubeconfig})"


def read(kubeconfig: Path | None, context: str | None) -> Access:
    """Read a kubeconfig, which is never written; raises UsageError with what is wrong in it."""
    if kubeconfig is None:
        raise UsageError(
            "--cluster external needs --kubeconfig FILE",
            next_step="name the file; there is no default, so that no cluster is checked by accident",
        )
    if kubeconfig == in_cluster.SERVICE_ACCOUNT:
        in_cluster.require_pod()
        return Access(kubeconfig, IN_CLUSTER, in_cluster.server(), f"of namespace {in_cluster.namespace()}")
    from session_affinity.kube import kubeconfig_client
    from session_affinity.kube.client_library import ConfigException

    content = _content(kubeconfig)
    names = [str(entry.get("name")) for entry in content.get("contexts") or () if isinstance(entry, dict)]
    wanted = context or content.get("current-context")
    if not wanted:
        raise UsageError(
            f"{kubeconfig} has no current context", next_step=f"pass --context, one of {', '.join(names) or 'none'}"
        )
    if wanted not in names:
        raise UsageError(
            f"{kubeconfig} has no context {wanted}", next_step=f"pass --context, one of {', '.join(names) or 'none'}"
        )
    try:
        client = kubeconfig_client.new_client(kubeconfig, wanted)
    except (ConfigException, *REJECTED) as error:
        raise UsageError(
            f"{kubeconfig}, context {wanted}: {error}", next_step="check that kubectl accepts this file"
        ) from error
    return Access(kubeconfig, str(wanted), str(client.configuration.host), _user(content, str(wanted)))


def require_answer(access: Access, *, deadlines: Deadlines = DEFAULTS) -> str:
    """Return the API server's version; raises ClusterError when it does not answer or rejects the credentials."""
    _require_listener(access, deadlines.api_connect)
    api = Api(access.kubeconfig, context=access.context, request_seconds=deadlines.api_first_answer)
    try:
        return api.server_version()
    except ApiError as error:
        raise _explained(access, error) from error


def default_namespace(access: Access) -> str:
    """Return the namespace of the context; empty when it names none."""
    if access.kubeconfig == in_cluster.SERVICE_ACCOUNT:
        return in_cluster.namespace()
    return str(_context(_content(access.kubeconfig), access.context).get("namespace") or "")


def _content(kubeconfig: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(kubeconfig.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot read the kubeconfig {kubeconfig}: {reason}", next_step="check the file that --kubeconfig names"
        ) from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UsageError(f"{kubeconfig}{line}: not YAML", next_step="check that kubectl accepts this file") from error
    if not isinstance(content, dict) or not content.get("contexts"):
        raise UsageError(
            f"{kubeconfig} is not a kubeconfig: it has no contexts", next_step="check the file that --kubeconfig names"
        )
    return content


def _user(content: dict[str, Any], context: str) -> str:
    return str(_context(content, context).get("user") or "nobody")


def _context(content: dict[str, Any], context: str) -> dict[str, Any]:
    chosen = next(each for each in content["contexts"] if str(each.get("name")) == context)
    return chosen.get("context") or {}


def _require_listener(access: Access, seconds: float) -> None:
    """Raise ClusterError when nothing listens at the server's address; the client would try four times to connect."""
    url = urlsplit(access.server)
    if any(os.environ.get(name) for name in _PROXIES) or not url.hostname:
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with contextlib.closing(socket.create_connection((url.hostname, port), timeout=seconds)):
            pass
    except OSError as error:
        reason = f"no answer within {seconds:.0f} s" if isinstance(error, TimeoutError) else error.strerror or error
        raise ClusterError(
            f"no API server at {access}: {reason}",
            next_step="check that the cluster runs and that kubectl reaches it with this kubeconfig",
        ) from error


def _explained(access: Access, error: ApiError) -> ClusterError:
    if error.status in (401, 403):
        return ClusterError(
            f"the API server at {access} does not accept user {access.user}: {error.what}",
            next_step="check that the credentials in the kubeconfig have not expired",
        )
    if "CERTIFICATE_VERIFY_FAILED" in error.what:
        return ClusterError(
            f"the API server at {access} has a certificate that no authority in the kubeconfig has signed",
            next_step="check that the kubeconfig is that of this cluster",
        )
    return ClusterError(f"the API server at {access} does not answer: {error.what}", next_step=error.next_step)
