"""The verdict with its exit code, as text and as JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from session_affinity.inspection.as_json import as_json
from session_affinity.inspection.as_text import as_text, duration, print_text
from session_affinity.inspection.observation import Observation, Unread
from session_affinity.inspection.result import Inspection, InspectionVerdict
from tests.unit.inspection.conftest import (
    POD,
    WORKERS,
    binding,
    objects,
    observation,
    reading,
    service,
    store,
)
from tests.unit.inspection.test_diagnoses import DIFFERENCE

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
BOUND = observation(
    None,
    *(
        reading(name, binding(f"10.10.9.{number}", name, number, age=float(number)), stores=(store(1),))
        for number, name in enumerate(WORKERS)
    ),
    clients={f"10.10.9.{number}": POD for number in range(3)},
)


def text_of(seen: Observation, seconds: float = 1.24) -> str:
    file = io.StringIO()
    print_text(Inspection.of(seen, seconds), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("seen", "verdict", "code"),
    [
        (BOUND, InspectionVerdict.WORKS, 0),
        (observation(objects(service(sessionAffinity="None"))), InspectionVerdict.BROKEN, 1),
        (observation(None, reading("worker2", differences=(DIFFERENCE,))), InspectionVerdict.BROKEN, 1),
        (observation(None, reading(not_read="no answer")), InspectionVerdict.UNDETERMINED, 10),
        (observation(None, reading(not_compared="ipvs", mode="ipvs")), InspectionVerdict.UNDETERMINED, 10),
        (observation(unread=(Unread("nodes", "no access"),)), InspectionVerdict.UNDETERMINED, 10),
        (observation(unread=(Unread("Ingresses", "no permission", is_decisive=False),)), InspectionVerdict.WORKS, 0),
    ],
)
def test_the_verdict_and_its_exit_code(seen: Observation, verdict: InspectionVerdict, code: int) -> None:
    inspection = Inspection.of(seen)

    assert (inspection.verdict, inspection.exit_code) == (verdict, code)
    assert bool(inspection.undetermined) == (verdict is InspectionVerdict.UNDETERMINED)


def test_text_shows_who_is_bound_the_newest_first() -> None:
    lines = text_of(BOUND).splitlines()

    assert lines[0] == "shop/cart: all 3 nodes have the expected rules, and nothing keeps affinity from working"
    clients = [line.split() for line in lines if "shop/client" in line]
    assert [words[0] for words in clients] == ["10.10.9.0", "10.10.9.1", "10.10.9.2"]
    assert clients[1][-9:] == ["cart-2", "worker2", "1.0", "s", "ago", "2", "h", "59", "min"]
    assert any("cart-1 1, cart-2 1, cart-3 1" in line for line in lines)
    assert any("1 of at most 100 clients" in line for line in lines)
    assert lines[-1] == "read in 1.2 s"


def test_many_clients_are_cut_and_counted() -> None:
    bindings = tuple(binding(f"10.10.9.{number}", age=float(number)) for number in range(14))

    text = text_of(observation(None, reading("worker1", *bindings)))

    assert "and 4 more (-o json has all)" in text
    assert "10.10.9.9" in text
    assert "10.10.9.10" not in text


def test_text_names_nodes_that_differ_with_claims_and_next_step() -> None:
    text = text_of(observation(None, reading("worker1"), reading("worker2", differences=(DIFFERENCE,))))

    assert "1 of 2 nodes as expected (iptables mode)" in text
    assert "1 of 2 nodes differ: worker2 (iptables mode)" in text
    assert "broken: rules-differ  [C16]" in text
    assert "worker2 KUBE-SVC-X rule 2: --seconds 5, expected 10800" in text
    assert "next: see the log of kube-proxy" in text


def test_text_says_what_was_not_read() -> None:
    text = text_of(Observation(objects(), modes=("iptables",), unread=(Unread("the nodes", "no access"),)))

    assert "undetermined: nothing found" in text
    assert "Not read  the nodes: no access" in text
    assert "Clients" not in text
    assert "Spread" not in text


def test_text_of_a_service_without_cluster_ip_promises_nothing() -> None:
    text = text_of(observation(objects(service(clusterIP="None", clusterIPs=["None"]))))

    assert "nothing, for ClientIP is about connections to a cluster IP" in text
    assert "without cluster IP (headless)" in text


def test_plain_text_has_no_colours_and_no_trailing_blanks() -> None:
    text = text_of(BOUND)

    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_fits_the_terminal(width: int) -> None:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True).print(as_text(Inspection.of(BOUND)))
    plain = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())

    assert max(map(len, plain.splitlines())) <= width
    assert "cart-1" in plain


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.24, "8.2 s"), (179.4, "179 s"), (1500, "25 min"), (10795, "2 h 59 min"), (-3, "-3.0 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def paths(value: Any, prefix: str = "") -> set[str]:
    """Return the paths of all keys of a document, as ``service.ports[].name``."""
    if isinstance(value, list):
        return {path for each in value for path in paths(each, f"{prefix}[]")}
    if not isinstance(value, dict):
        return set()
    names = {name: f"{prefix}.{name}".lstrip(".") for name in value}
    return {*names.values(), *(path for name in names for path in paths(value[name], names[name]))}


def test_every_key_of_the_json_is_documented() -> None:
    full = observation(
        None,
        reading("worker1", binding(), differences=(DIFFERENCE,), stores=(store(1),)),
        unread=(Unread("Ingresses", "no permission", is_decisive=False),),
    )
    document = as_json(Inspection.of(full))
    page = (ROOT / "docs" / "why-is-my-affinity-not-working.md").read_text()
    documented = set(re.findall(r"`([\w.\[\]]+)`", page))

    keys = {path for path in paths(document) if not path.startswith("service.selector.")}
    assert keys <= documented, sorted(keys - documented)
    assert json.loads(json.dumps(document)) == document


def test_json_has_every_client_with_seconds() -> None:
    document = as_json(Inspection.of(BOUND, 1.2345))

    assert document["schema"] == "session-affinity/inspection/v1"
    assert (document["verdict"], document["seconds"]) == ("works", 1.234)
    assert document["clients"][1] == {
        "address": "10.10.9.1",
        "kind": "pod",
        "name": "shop/client",
        "node": "worker2",
        "family": "IPv4",
        "port": "web",
        "endpoint": "10.10.2.2:80",
        "pod": "cart-2",
        "lastConnectionSecondsAgo": 1.0,
        "secondsLeft": 10797.0,
        "connections": 4,
    }
    assert [share["clients"] for share in document["spread"]] == [1, 1, 1]
