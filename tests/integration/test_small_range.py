"""A cluster of somebody else whose range of Service addresses is small: generated Services leave half of it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.cluster_objects.capacity import NoRoomError
from session_affinity.cluster_objects.handmade import HandMadeServices
from session_affinity.cluster_objects.service_addresses import FreeAddresses, free_addresses
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.state import STATE_VARIABLE
from session_affinity.clusters.external import rbac
from session_affinity.kube.api import Api
from session_affinity.kube.resources import RESOURCE_QUOTAS
from session_affinity.waiting import wait_until
from tests.integration.conftest import ROOT
from tests.integration.test_external import Standing, counts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "small-range"
RANGE = "10.200.77.0/25"
"""Of its 128 addresses 110 are given out: 16 are for Services that name theirs."""
GIVEN_OUT = 110
FREE = 100
SERVICE_CIDR = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "ServiceCIDR",
    "metadata": {"name": "small"},
    "spec": {"cidrs": [RANGE]},
}


QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "few", "namespace": "kube-public"},
    "spec": {"hard": {"services": "3"}},
}


def hand_made(count: int) -> list[dict[str, Any]]:
    """Return Services without selector."""
    manifest = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    return [{**manifest, "metadata": {"name": f"hand-made-{number}"}} for number in range(count)]


def services_of_others(count: int, prefix: str) -> str:
    """Return manifests of Services that have nothing to do with the suite."""
    return "---\n".join(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"{prefix}-{number}"},
                "spec": {"ports": [{"port": 80}]},
            }
        )
        for number in range(count)
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A cluster that gives out addresses of a small range only: the range that it began with is being deleted.

    Its first range stays in that state, because Service default/kubernetes has an address of it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("small")))
        argv = (sys.executable, "-m", "session_affinity", "cluster", "up", "--name", NAME)
        assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 0
        found = clusters.find(NAME)
        assert found is not None
        standing = Standing(found)
        standing.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(SERVICE_CIDR))
        # kube-controller-manager may start after the nodes; without its finalizer the range would be gone at once.
        finalizer = "--for=jsonpath={.metadata.finalizers[0]}=networking.k8s.io/service-cidr-finalizer"
        standing.kubectl("wait", "servicecidr/kubernetes", finalizer, "--timeout=30s")
        standing.kubectl("delete", "servicecidr", "kubernetes", "--wait=false")
        standing.kubectl("wait", "servicecidr/kubernetes", "--for=condition=Ready=False", "--timeout=30s")
        standing.kubectl("apply", "-f", "-", stdin=services_of_others(GIVEN_OUT - FREE, "other"))
        yield standing
        clusters.down(NAME)


@contextlib.contextmanager
def addresses_in_use(standing: Standing) -> Iterator[list[int]]:
    """Yield how many IPAddress objects there are after each change, from the first list on."""
    template = r'{.type} {.object.metadata.name}{"\n"}'
    argv = (
        *(standing.cluster.layout.programs["kubectl"], f"--kubeconfig={standing.cluster.kubeconfig}"),
        *("get", "ipaddresses", "--watch", "--output-watch-events", "-o", f"jsonpath={template}"),
    )
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout
    seen: list[int] = []

    def follow() -> None:
        names: set[str] = set()
        for line in lines:
            kind, name = line.split()
            names = names - {name} if kind == "DELETED" else names | {name}
            if name.startswith("10.200.77."):
                seen.append(sum(each.startswith("10.200.77.") for each in names))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        wait_until(lambda: seen, 10, what="the IPAddress objects")
        yield seen
    finally:
        process.kill()
        process.communicate()
        thread.join(5)


def test_shapes_are_made_in_batches_that_take_at_most_half_of_what_is_free(small: Standing) -> None:
    before = small.traces()
    api = Api(small.cluster.kubeconfig)
    assert free_addresses(api, ("IPv4",)) == {"IPv4": FreeAddresses(FREE, GIVEN_OUT)}

    with addresses_in_use(small) as in_use:
        said = small.start("--node-access=agent", claims="C90 or C96").communicate(timeout=280)[0]

    assert counts(said) == {"passed": 2}, said
    assert "2858 of 2858 feasible pairs" in said, said
    # Shapes that pods answer are made meanwhile, and use up a part.
    in_batches = r"generated Services in batches: [3-9], because 100 of 110 IPv4 Service addresses are not used by"
    assert re.search(in_batches, said), said
    others = GIVEN_OUT - FREE
    assert others + 40 < max(in_use) <= others + FREE // 2
    assert in_use[-1] == others
    assert small.traces() == before


@pytest.mark.long
def test_where_others_use_nearly_all_of_it_no_shape_is_made(small: Standing) -> None:
    more = services_of_others(FREE - 14, "more")
    small.kubectl("apply", "-f", "-", stdin=more)
    try:
        before = small.traces()
        with addresses_in_use(small) as in_use:
            said = small.start("--node-access=agent", claims="C10 or C90 or C96").communicate(timeout=280)[0]
        after = small.traces()
    finally:
        small.kubectl("delete", "-f", "-", stdin=more)

    assert counts(said) == {"passed": 1, "skipped": 2}, said
    assert "14 of 110 IPv4 Service addresses are not used by others" in said
    assert "and 46 Services are for other claims" in said
    # The Service of C10, a sentinel, and the Service that serves as clock of the nodes.
    assert max(in_use) <= GIVEN_OUT - 14 + 3
    assert after == before


@pytest.mark.long
def test_batches_are_small_where_the_user_may_not_see_what_is_free(small: Standing, tmp_path: Path) -> None:
    with small.user(tmp_path, "--node-access=agent") as user:
        role = yaml.safe_load(small.kubectl("get", "clusterrole", rbac.NAME, "-o", "yaml"))
        role["rules"] = [rule for rule in role["rules"] if "ipaddresses" not in rule["resources"]]
        small.kubectl("replace", "-f", "-", stdin=yaml.safe_dump(role))
        with addresses_in_use(small) as in_use:
            said = user.start("--node-access=agent", claims="C90").communicate(timeout=280)[0]

    assert counts(said) == {"passed": 1}, said
    assert "2858 of 2858 feasible pairs" in said, said
    assert "generated Services in batches: 9, because how many Service addresses are free is not known" in said
    # 16, a sentinel and the clock.
    assert max(in_use) <= GIVEN_OUT - FREE + 18


def test_a_full_range_and_a_full_quota_leave_nothing_behind(small: Standing) -> None:
    api = Api(small.cluster.kubeconfig)
    small.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(QUOTA))
    wait_until(
        lambda: "used" in (api.get(RESOURCE_QUOTAS, "few", "kube-public").get("status") or {}), 30, what="the quota"
    )
    before = small.traces()

    for namespace, count, reason in (("default", 127, "range is full"), ("kube-public", 4, "exceeded quota")):
        with HandMadeServices(api, namespace) as made, pytest.raises(NoRoomError, match=reason):
            made.create_accepted([[service] for service in hand_made(count)])

    assert small.traces() == before
