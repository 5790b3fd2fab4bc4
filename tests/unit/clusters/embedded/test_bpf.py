"""Tests of calls of bpf(2): a query neither reaches network interfaces nor overwrites memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.clusters.embedded import bpf

if TYPE_CHECKING:
    import ctypes
    from pathlib import Path

    import pytest

REVISION_END = 64
"""Where the last field of a query ends (Linux 6.18: union bpf_attr, query.revision)."""
OF_INTERFACES = {46, 47, 54, 55}
"""BPF_TCX_INGRESS, BPF_TCX_EGRESS, BPF_NETKIT_PRIMARY, BPF_NETKIT_PEER."""


def test_no_query_is_about_network_interfaces() -> None:
    assert not OF_INTERFACES & set(bpf.ATTACH_TYPES)


def test_the_kernel_may_write_every_field_of_a_query(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes = []

    def call(_command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
        sizes.append(len(attributes))
        return 0

    monkeypatch.setattr(bpf, "call", call)
    bpf.attached(tmp_path, bpf.ATTACH_TYPES[0])

    assert min(sizes) >= REVISION_END
