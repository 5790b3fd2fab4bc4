"""Releases of kube-proxy, and the names that old ones take."""

from __future__ import annotations

import pytest

from session_affinity.errors import UsageError
from session_affinity.releases import known_release, longest_comment, release_of


@pytest.mark.parametrize(
    ("version", "release"), [("v1.37.2", (1, 37)), ("1.33", (1, 33)), ("v1.34.4-eks-1a2b", (1, 34)), ("1.9.0", (1, 9))]
)
def test_a_version_has_a_release(version: str, release: tuple[int, int]) -> None:
    assert release_of(version) == release


@pytest.mark.parametrize("version", ["", "main", "v1"])
def test_another_text_is_no_version(version: str) -> None:
    with pytest.raises(UsageError, match="no version of Kubernetes"):
        release_of(version)


@pytest.mark.parametrize(
    ("version", "release"),
    [("v1.35.0+k3s1", (1, 35)), ("v0.0.0-master+$Format:%H$", None), ("unknown", None), ("", None)],
)
def test_a_program_may_say_a_version_that_names_no_release(version: str, release: tuple[int, int] | None) -> None:
    assert known_release(version) == release


@pytest.mark.parametrize(
    ("oldest", "modes", "longest"),
    [
        ((1, 36), {"nftables"}, 128),
        ((1, 36), {"iptables", "nftables"}, 128),
        ((1, 36), {"iptables"}, None),
        ((1, 33), {"ipvs"}, None),
        ((1, 33), {"unknown"}, 128),
        ((1, 33), set(), 128),
        ((1, 37), {"nftables"}, None),
    ],
)
def test_comments_are_limited_in_nftables_mode_before_1_37(
    oldest: tuple[int, int], modes: set[str], longest: int | None
) -> None:
    assert longest_comment(oldest, modes) == longest
