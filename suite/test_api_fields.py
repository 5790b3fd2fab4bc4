"""What the API stores of a Service's affinity, what it refuses, and what it warns of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity.claims import API, BOTH_MODES, KUBE_PROXY, sources
from session_affinity.cluster_objects.labels import unique_name
from session_affinity.cluster_objects.services import BACKEND, DEFAULT_TIMEOUT, NO_AFFINITY, PORT, ServiceRequest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.kube.api import PatchType
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.api_fields import (
    AFFINITY_REFUSED,
    TIMEOUT_REFUSED,
    judge_refused,
    judge_stored,
    judge_warnings,
    warns_of_headless,
    warns_without_reason,
)
from session_affinity.verdicts.equivalence import judge_nothing, judge_same
from session_affinity.verdicts.server_side_apply import Applied, judge_applied

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.cluster_objects.raw_services import RawServiceApi
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.kube.api import Api
    from session_affinity.nodes.nodes import Nodes
    from session_affinity.plugin.check import Check
    from session_affinity.testbed.testbed import Testbed

pytestmark = [pytest.mark.affinity, pytest.mark.api_fields]

HEADLESS: Final = {"clusterIP": "None"}
EXTERNAL_NAME: Final = {"type": "ExternalName", "externalName": "example.org", "selector": None}


def timeout(seconds: int) -> dict[str, Any]:
    """Return the configuration that says a timeout."""
    return {"clientIP": {"timeoutSeconds": seconds}}


@claim(
    "C02",
    "sessionAffinity defaults to None without sessionAffinityConfig",
    promised_by=API,
    source=sources.FIELD,
)
def test_a_service_has_no_affinity_by_default(service_api: RawServiceApi, check: Check) -> None:
    """A Service says None and no timeout unless told otherwise.

    Preconditions: none.
    Steps: create a Service that does not mention session affinity, and one that says None beside a timeout.
    Expected: both stored with sessionAffinity None, without a configuration: the timeout is dropped, not refused.
    """
    silent = service_api.create("nothing said", ServiceRequest("default"))
    said = service_api.create(
        "None with a timeout", ServiceRequest("none", spec={"sessionAffinityConfig": timeout(30)})
    )

    verdict = judge_stored((silent, NO_AFFINITY, None), (said, NO_AFFINITY, None))

    check(verdict)


@claim(
    "C03",
    "ClientIP without a timeout is stored with 10800 seconds",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
)
def test_client_ip_is_stored_with_the_default_timeout(service_api: RawServiceApi, check: Check) -> None:
    """ClientIP without a timeout is stored with 10800 seconds.

    Preconditions: none.
    Steps: create Services with sessionAffinity ClientIP: without a configuration, and with one that is empty.
    Expected: stored with timeoutSeconds 10800.
    """
    silent = service_api.create("no configuration", ServiceRequest("default", CLIENT_IP))
    empty = service_api.create(
        "an empty one", ServiceRequest("empty", CLIENT_IP, spec={"sessionAffinityConfig": {"clientIP": {}}})
    )

    verdict = judge_stored((silent, CLIENT_IP, DEFAULT_TIMEOUT), (empty, CLIENT_IP, DEFAULT_TIMEOUT))

    check(verdict)


@claim(
    "C04",
    "Timeouts of 1, 30 and 86400 seconds are accepted as they are",
    promised_by=API,
    source=sources.TIMEOUT_FIELD,
)
def test_timeouts_in_range_are_accepted(service_api: RawServiceApi, check: Check) -> None:
    """Timeouts of 1, 30 and 86400 seconds are accepted as they are: the ends of the range, and one within.

    Preconditions: none.
    Steps: create a Service with each timeout.
    Expected: each stored with the timeout it was created with. That nodes carry it too is C05.
    """
    asked = [
        (service_api.create(f"{s} s", ServiceRequest(f"t{s}", CLIENT_IP, s)), CLIENT_IP, s) for s in (1, 30, 86400)
    ]

    verdict = judge_stored(*asked)

    check(verdict)


@claim(
    "C06",
    "Timeouts out of range and an unknown affinity are refused, naming the field",
    promised_by=API,
    source=sources.VALIDATION,
)
def test_what_is_out_of_range_is_refused(service_api: RawServiceApi, check: Check) -> None:
    """Timeouts out of range and an unknown affinity are refused, naming the field.

    Preconditions: a Service with ClientIP.
    Steps: create Services with timeouts of 0, -1 and 86401 seconds and one with affinity ClientIp; patch the Service to
        each of these.
    Expected: 422 Invalid each time, with one cause: FieldValueInvalid for
        spec.sessionAffinityConfig.clientIP.timeoutSeconds, FieldValueNotSupported for spec.sessionAffinity.
    """
    there = service_api.create("the Service", ServiceRequest("valid", CLIENT_IP)).reply.granted("create a Service")[
        "metadata"
    ]["name"]
    wrong = {f"{seconds} s": {"sessionAffinityConfig": timeout(seconds)} for seconds in (0, -1, 86401)}
    refused = [
        *(
            (service_api.create(what, ServiceRequest("wrong", CLIENT_IP, spec=spec)), TIMEOUT_REFUSED)
            for what, spec in wrong.items()
        ),
        (service_api.create("ClientIp", ServiceRequest("wrong", "ClientIp")), AFFINITY_REFUSED),
        *((service_api.patch(f"patch to {to}", there, {"spec": spec}), TIMEOUT_REFUSED) for to, spec in wrong.items()),
        (service_api.patch("patch to ClientIp", there, {"spec": {"sessionAffinity": "ClientIp"}}), AFFINITY_REFUSED),
    ]

    verdict = judge_refused(refused)

    check(verdict)


@claim(
    "C07",
    "None removes the timeout, and ClientIP again begins with 10800 seconds",
    promised_by=API,
    source=sources.DEFAULTING,
)
def test_none_removes_the_timeout(service_api: RawServiceApi, check: Check) -> None:
    """None removes the timeout, and ClientIP again begins with 10800 seconds.

    Preconditions: a Service with ClientIP and 30 seconds.
    Steps: patch it to None, not mentioning the timeout; patch it back to ClientIP.
    Expected: no configuration under None; 10800 seconds under ClientIP again, not the 30 from before.
    """
    sticky = service_api.create("ClientIP, 30 s", ServiceRequest("reset", CLIENT_IP, 30))
    name = sticky.reply.granted("create a Service")["metadata"]["name"]
    off = service_api.patch("patched to None", name, {"spec": {"sessionAffinity": NO_AFFINITY}})
    again = service_api.patch("patched back to ClientIP", name, {"spec": {"sessionAffinity": CLIENT_IP}})

    verdict = judge_stored((sticky, CLIENT_IP, 30), (off, NO_AFFINITY, None), (again, CLIENT_IP, DEFAULT_TIMEOUT))

    check(verdict)


@claim(
    "C54",
    "The API warns about ClientIP affinity on headless Services, and only there",
    promised_by=API,
    source=sources.WARNINGS,
)
def test_affinity_of_a_headless_service_is_warned_of(api: Api, service_api: RawServiceApi, check: Check) -> None:
    """Affinity of a headless Service is warned of, and none where there is none.

    Preconditions: none.
    Steps: create a headless Service with ClientIP, a headless one that does not mention affinity, and one with a
        cluster IP and ClientIP; look at the warnings that come with the answers.
    Expected: a warning about affinity for the first alone, from API server 1.34 on; no warning before. (1.34.0 and
        1.34.1 warn of the second as well, a known mistake, so there it is not asked for.)
    """
    version = api.server_version()
    asked = [
        (
            service_api.create("headless, ClientIP", ServiceRequest("bare", CLIENT_IP, spec=HEADLESS)),
            warns_of_headless(version),
        ),
        (service_api.create("cluster IP, ClientIP", ServiceRequest("usual", CLIENT_IP)), False),
    ]
    if not warns_without_reason(version):
        asked.append((service_api.create("headless, nothing said", ServiceRequest("bare", spec=HEADLESS)), False))

    verdict = judge_warnings(asked, version)

    check(verdict)


@claim(
    "C55",
    "Server-side apply by a second manager conflicts on timeoutSeconds unless forced",
    promised_by=API,
    source=sources.SERVER_SIDE_APPLY,
)
def test_another_managers_apply_conflicts(service_api: RawServiceApi, check: Check) -> None:
    """Another manager's apply conflicts over the timeout, and takes it only by force.

    Preconditions: none.
    Steps: apply a Service with ClientIP and 600 seconds as one field manager; apply 30 seconds to it as another,
        without force and then with force.
    Expected: the first owns affinity and timeout; the second is refused with 409 Conflict over timeoutSeconds alone,
        which stays 600; by force it stores 30 and owns timeoutSeconds, while the first still owns sessionAffinity.
    """
    managers, timeouts = ("first-manager", "second-manager"), (600, 30)
    name = unique_name("applied")
    full = {"selector": dict(BACKEND), "ports": [{"port": PORT, "targetPort": 80}], "sessionAffinity": CLIENT_IP}
    given, taken = ({"sessionAffinityConfig": timeout(seconds)} for seconds in timeouts)

    applied = Applied(
        first=service_api.apply("the first applies", name, {**full, **given}, managers[0]),
        refused=service_api.apply("the second applies", name, taken, managers[1]),
        kept=service_api.read("after the refusal", name),
        forced=service_api.apply("the second applies by force", name, taken, managers[1], force=True),
        managers=managers,
        timeouts=timeouts,
    )
    verdict = judge_applied(applied)

    check(verdict)


@claim(
    "C56",
    "Merge, strategic and JSON patches of affinity store the same",
    promised_by=API,
    source=sources.FIELD,
)
def test_patches_of_all_kinds_store_the_same(service_api: RawServiceApi, check: Check) -> None:
    """Merge, strategic and JSON patches of affinity store the same.

    Preconditions: three Services without affinity.
    Steps: by a patch of one kind for each Service: to ClientIP and 300 seconds, to 30 seconds, to None.
    Expected: stored with ClientIP and 300, ClientIP and 30, None without a configuration, whatever the kind.
    """
    place = "/spec/sessionAffinity"
    merged: list[Any] = [
        {"spec": {"sessionAffinity": CLIENT_IP, "sessionAffinityConfig": timeout(300)}},
        {"spec": {"sessionAffinityConfig": timeout(30)}},
        {"spec": {"sessionAffinity": NO_AFFINITY}},
    ]
    operations: list[Any] = [
        [
            {"op": "replace", "path": place, "value": CLIENT_IP},
            {"op": "add", "path": f"{place}Config", "value": timeout(300)},
        ],
        [{"op": "replace", "path": f"{place}Config/clientIP/timeoutSeconds", "value": 30}],
        [{"op": "replace", "path": place, "value": NO_AFFINITY}],
    ]
    stored = [(CLIENT_IP, 300), (CLIENT_IP, 30), (NO_AFFINITY, None)]
    asked = []
    for kind, changes in ((PatchType.MERGE, merged), (PatchType.STRATEGIC, merged), (PatchType.JSON, operations)):
        plain = service_api.create("without affinity", ServiceRequest("patched"))
        name = plain.reply.granted("create a Service")["metadata"]["name"]
        for change, (affinity, seconds) in zip(changes, stored, strict=True):
            what = f"{kind.name.lower()} patch to {affinity}, {seconds or 'no'} s"
            asked.append((service_api.patch(what, name, change, kind), affinity, seconds))

    verdict = judge_stored(*asked)

    check(verdict, headline=f"{len(asked)} patches stored as they say")


@claim(
    "C57",
    "A Service created with ClientIP equals one that was switched in place",
    promised_by=KUBE_PROXY,
    source=sources.FIELD,
    modes=BOTH_MODES,
)
def test_created_with_affinity_equals_switched_in_place(
    sticky_service: ServiceState, services: Services, testbed: Testbed, check: Check
) -> None:
    """A Service created with ClientIP equals one that was switched in place.

    Preconditions: a Service created with ClientIP over three ready endpoints.
    Steps: read its specification and its rules on every node; switch it to None and back to ClientIP in place, waiting
        for every node each time; read both again.
    Expected: the same specification; on every node the same rules in the same order.
    """
    first = testbed.wait_for_sync(sticky_service, since=time.monotonic())
    created, _ = services.stored(sticky_service)
    since = time.monotonic()
    plain = services.switch(sticky_service, NO_AFFINITY)
    testbed.wait_for_sync(plain, since=since)
    since = time.monotonic()
    again = services.switch(plain, CLIENT_IP)
    second = testbed.wait_for_sync(again, since=since)
    switched, _ = services.stored(again)

    rules = testbed.backend.normalised
    held = [{name: rules(state, again) for name, state in one.states.items()} for one in (first, second)]
    verdict = judge_same(again, (created["spec"], switched["spec"]), (held[0], held[1]))

    check(verdict)


@claim(
    "C08",
    "Headless and ExternalName Services with ClientIP program nothing",
    promised_by=KUBE_PROXY,
    source=sources.SHOULD_SKIP_SERVICE,
    modes=BOTH_MODES,
)
def test_headless_and_external_name_program_nothing(
    stored_service: Callable[[ServiceRequest], ServiceState], nodes: Nodes, testbed: Testbed, check: Check
) -> None:
    """Headless and ExternalName Services with ClientIP program nothing.

    Preconditions: a headless Service with ClientIP over three ready endpoints; an ExternalName Service with ClientIP.
    Steps: make an ordinary Service after them and wait until every node has its rules: they have heard of the others
        then; read every node.
    Expected: no chain, rule, list or set of either on any node.
    """
    bare = stored_service(ServiceRequest("bare", CLIENT_IP, spec=HEADLESS))
    named = stored_service(ServiceRequest("named", CLIENT_IP, spec=EXTERNAL_NAME, endpoints=0))
    since = time.monotonic()
    control = stored_service(ServiceRequest("control", CLIENT_IP))
    testbed.wait_for_sync(control, since=since)
    states = nodes.read()

    backend = testbed.backend
    held = {
        service.key: {name: backend.objects_of(state, service) for name, state in states.items()}
        for service in (bare, named)
    }
    known = {name: backend.normalised(state, control) for name, state in states.items()}
    verdict = judge_nothing(held, known)

    check(verdict)
