"""Recent lists: parsing, expiry, writing, and the tick rate."""

from __future__ import annotations

import subprocess

import pytest

from session_affinity.dataplane import xt_recent
from session_affinity.dataplane.xt_recent import Clock, ClockSample, Entry
from session_affinity.errors import NodeError

pytestmark = pytest.mark.unit

# As Linux 6.18 wrote it: three connections within a tick, and an IPv6 client added by hand.
GOLDEN = """\
src=10.10.0.6 ttl: 64 last_seen: 4295444436 oldest_pkt: 3 4295444436, 4295444436, 4295444436
src=fd00:0010:0000:0000:0000:0000:0000:0006 ttl: 0 last_seen: 4295444437 oldest_pkt: 1 4295444437
"""
NOW, HZ, TIMEOUT = 4_295_444_436, 250, 30


def entry(*stamps: int) -> Entry:
    return Entry("10.10.0.6", 64, max(stamps), len(stamps) % 32, stamps)


def test_a_list_is_read() -> None:
    first, second = xt_recent.parse("KUBE-SEP-X", GOLDEN).entries

    assert first == Entry("10.10.0.6", 64, 4295444436, 3, (4295444436,) * 3)
    assert (second.address, second.ttl, second.connections) == ("fd00:10::6", 0, 1)


def test_a_line_that_an_old_kernel_repeats_is_one() -> None:
    again = "src=10.10.0.6 ttl: 64 last_seen: 4295444440 oldest_pkt: 1 4295444440\n"

    first, second = xt_recent.parse("KUBE-SEP-X", GOLDEN + again).entries

    assert (first.address, first.stamps) == ("10.10.0.6", (4295444440,))
    assert second.address == "fd00:10::6"


@pytest.mark.parametrize(
    ("parameter", "stamps"),
    [("", 32), ("0", 32), ("1", 1), ("2", 2), ("20", 32), ("33", 64), ("100", 128), ("255", 256)],
)
def test_the_module_may_keep_another_number_of_stamps(parameter: str, stamps: int) -> None:
    first, _ = xt_recent.parse("KUBE-SEP-X", GOLDEN, xt_recent.max_stamps(parameter)).entries

    assert first.capacity == xt_recent.max_stamps(parameter) == stamps


def test_an_empty_list_has_no_entries() -> None:
    assert xt_recent.parse("KUBE-SEP-X", "\n").entries == ()


@pytest.mark.parametrize(
    "line", ["src=10.10.0.6 ttl: 64", "src=nobody ttl: 1 last_seen: 2 oldest_pkt: 1 2", "10.10.0.6 1 2 3"]
)
def test_a_line_of_another_format_is_an_error_that_shows_it(line: str) -> None:
    with pytest.raises(NodeError, match=f"KUBE-SEP-X.*{line}"):
        xt_recent.parse("KUBE-SEP-X", line)


def test_a_client_has_its_entry_in_any_spelling_of_its_address() -> None:
    recent = xt_recent.parse("KUBE-SEP-X", GOLDEN)

    assert recent.entry("fd00:10:0::6") is recent.entries[1]
    assert recent.entry("10.10.0.7") is None


def test_an_entry_matches_up_to_the_tick_in_which_its_timeout_ends() -> None:
    seen = entry(NOW)

    assert seen.is_live(Clock(NOW + TIMEOUT * HZ, HZ), TIMEOUT)
    assert not seen.is_live(Clock(NOW + TIMEOUT * HZ + 1, HZ), TIMEOUT)


def test_the_newest_stamp_decides_at_any_place_of_the_ring() -> None:
    ring = entry(*range(NOW - 7, NOW + 1), *range(NOW - 31, NOW - 7))

    assert ring.connections == 32
    assert ring.is_live(Clock(NOW + TIMEOUT * HZ, HZ), TIMEOUT)


def test_age_and_time_left_are_seconds() -> None:
    clock = Clock(NOW + 10 * HZ, HZ)

    assert entry(NOW).age(clock) == 10.0
    assert entry(NOW).expires_in(clock, TIMEOUT) == 20.0
    assert entry(NOW).expires_in(clock, 5) == -5.0


def test_writes_are_arguments_and_never_part_of_the_script() -> None:
    argv = xt_recent.write_argv(("KUBE-SEP-X", xt_recent.remove("10.0.0.1")), ("KUBE-SEP-Y", xt_recent.add("10.0.0.2")))

    assert argv[:2] == ("sh", "-c")
    assert argv[3:] == ("write", "KUBE-SEP-X", "-10.0.0.1", "KUBE-SEP-Y", "+10.0.0.2")


def test_a_write_to_a_list_that_does_not_exist_fails_and_names_it() -> None:
    done = subprocess.run(xt_recent.write_argv(("NO-SUCH", "+10.0.0.1")), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "no list /proc/net/xt_recent/NO-SUCH\n")


@pytest.mark.parametrize(("ticks", "hz"), [(100, 100), (251, 250), (297, 300), (996, 1000), (260, 250)])
def test_the_tick_rate_is_one_that_kernels_have(ticks: int, hz: int) -> None:
    assert xt_recent.derive_hz(ClockSample(NOW, 10.0), ClockSample(NOW + ticks, 11.0)) == hz


def test_a_rate_between_two_kernels_is_refused() -> None:
    with pytest.raises(NodeError, match=r"275\.0 a second"):
        xt_recent.derive_hz(ClockSample(NOW, 10.0), ClockSample(NOW + 275, 11.0))


def test_samples_that_are_too_close_are_refused() -> None:
    with pytest.raises(NodeError, match=r"0\.19 s apart"):
        xt_recent.derive_hz(ClockSample(NOW, 10.0), ClockSample(NOW + 48, 10.19))
