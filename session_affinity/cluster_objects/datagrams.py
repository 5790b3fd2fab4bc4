"""Pods that answer datagrams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class DatagramEndpoints:
    """Pods that answer HTTP requests at port 80 and datagrams at ``port``.

    ``server`` is the command with which a client's container answers datagrams; empty where endpoints do by themselves.
    """

    selector: Mapping[str, str]
    port: int
    server: tuple[str, ...] = ()
