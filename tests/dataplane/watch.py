"""Lists and watches resources of the API with the node program's kubeconfig."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3
import yaml

if TYPE_CHECKING:
    from pathlib import Path
    from queue import SimpleQueue

_PAUSE_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Change:
    """Objects of a resource: all of them after a list (``is_list``), or one that has changed or is gone."""

    path: str
    objects: tuple[dict[str, Any], ...]
    is_list: bool = False
    is_gone: bool = False


def connect(kubeconfig: Path) -> urllib3.HTTPSConnectionPool:
    """Return the API server's connections, with the certificate of the kubeconfig's only user."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode(),
    )
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        for name in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[name]))
        pair.flush()
        context.load_cert_chain(pair.name)
    url = urllib3.util.parse_url(cluster["server"])
    return urllib3.HTTPSConnectionPool(
        str(url.host).strip("[]"), url.port, ssl_context=context, maxsize=8, retries=False
    )


def watch(http: urllib3.HTTPSConnectionPool, path: str, changes: SimpleQueue[Change]) -> None:
    """Put the changes of a resource into a queue, from a thread that lasts as long as this process."""
    threading.Thread(target=_watch, args=(http, path, changes), daemon=True).start()


def _watch(http: urllib3.HTTPSConnectionPool, path: str, changes: SimpleQueue[Change]) -> None:
    while True:
        try:
            version = _list(http, path, changes)
            _follow(http, path, version, changes)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, LookupError) as error:
            sys.stderr.write(f"watch of {path}: {error}\n")
            time.sleep(_PAUSE_SECONDS)


def _list(http: urllib3.HTTPSConnectionPool, path: str, changes: SimpleQueue[Change]) -> str:
    """Put all objects of a resource, and return the version from which it can be watched."""
    response = http.request("GET", path, timeout=_ANSWER_SECONDS)
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    body = response.json()
    changes.put(Change(path, tuple(body.get("items") or ()), is_list=True))
    return str(body["metadata"]["resourceVersion"])


def _follow(http: urllib3.HTTPSConnectionPool, path: str, version: str, changes: SimpleQueue[Change]) -> None:
    """Put each change until the server ends the watch or says that the version is too old."""
    fields = {"watch": "1", "resourceVersion": version}
    timeout = urllib3.Timeout(connect=_ANSWER_SECONDS, read=None)
    response = http.request("GET", path, fields=fields, timeout=timeout, preload_content=False)
    try:
        for line in response:
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            changes.put(Change(path, (event["object"],), is_gone=event["type"] == "DELETED"))
    finally:
        response.close()
