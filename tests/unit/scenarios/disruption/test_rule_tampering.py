"""Commands that change a node's rules as other programs do."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.model import CLIENT_IP, ServicePort, ServiceState
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.scenarios.disruption import rule_tampering

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit
SERVICE = ServiceState("default", "svc-clusterip", ("10.200.1.201",), CLIENT_IP, 30, (ServicePort("web", "TCP", 9000),))


@pytest.mark.parametrize("name", ["iptables", "iptables-legacy", "ip6tables-nft"])
def test_commands_use_the_iptables_variant_that_has_the_rules(name: str) -> None:
    state = NodeSnapshot("a", program=f"{name}-save")

    flush = rule_tampering.flush(state, SERVICE, "iptables", "nat")

    assert flush[-3:] == (f"{name}-save", f"{name}-restore", "nat")
    assert rule_tampering.block(state, SERVICE, "iptables")[0] == name


def test_in_nftables_mode_the_table_of_the_services_family_is_deleted() -> None:
    argv = rule_tampering.flush(NodeSnapshot("a"), SERVICE, "nftables")

    assert argv == ("nft", "delete", "table", "ip", "kube-proxy")


def test_in_nftables_mode_the_rule_is_inserted_into_kube_proxys_table() -> None:
    argv = rule_tampering.block(NodeSnapshot("a"), SERVICE, "nftables")

    assert argv[:5] == ("nft", "insert", "rule", "ip", "kube-proxy")
    assert argv[5].endswith("-default/svc-clusterip/tcp/web")


def test_the_inserted_rule_is_the_one_that_is_removed() -> None:
    state = NodeSnapshot("a", program="iptables-save")
    inserted, removed = (
        command(state, SERVICE, "iptables") for command in (rule_tampering.block, rule_tampering.unblock)
    )

    assert [word.replace("-I", "-D") for word in inserted] == list(removed)


def test_in_nftables_mode_rules_that_only_return_are_removed_by_their_handles(tmp_path: Path) -> None:
    nft, calls = tmp_path / "nft", tmp_path / "calls"
    chain = "chain x {\n\t\treturn # handle 41\n\t\tip saddr 10.0.0.1 return # handle 42\n\t}"
    nft.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n[ "$1" = -a ] && printf \'{chain}\\n\'\nexit 0\n')
    nft.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    subprocess.run(rule_tampering.unblock(NodeSnapshot("a"), SERVICE, "nftables"), env=environment, check=True)

    assert [call.rpartition(" ")[2] for call in calls.read_text().splitlines()[1:]] == ["41"]


def test_a_flush_keeps_rules_of_others(tmp_path: Path) -> None:
    tables = tmp_path / "restored"
    save, restore = tmp_path / "iptables-save", tmp_path / "iptables-restore"
    foreign = "-A FOREIGN -j ACCEPT"
    rules = (":KUBE-SVC-X - [0:0]", "-A PREROUTING -j KUBE-SERVICES", foreign, "COMMIT")
    save.write_text("\n".join(("#!/bin/sh", 'echo "*$2"', *(f"echo '{rule}'" for rule in rules))))
    restore.write_text(f"#!/bin/sh\ncat >>{tables}\n")
    for program in (save, restore):
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    argv = rule_tampering.flush(NodeSnapshot("a", program="iptables-save"), SERVICE, "iptables")
    subprocess.run(argv, env=environment, check=True)

    assert tables.read_text() == "".join(f"*{table}\n{foreign}\nCOMMIT\n" for table in ("mangle", "nat", "filter"))
