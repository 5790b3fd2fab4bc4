"""The assertion of a claim's test: it records the verdict for the report, and fails the test unless the claim holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from session_affinity import recorder
from session_affinity.errors import SuiteError
from session_affinity.kube.api import ApiError
from session_affinity.plugin.selection import expect_known_behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from session_affinity.claims import Claim
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.plugin.evidence import TestRecord
    from session_affinity.verdicts.verdict import Verdict

HEADLINE: Final = "headline"
"""The property of a test report with the number or phrase that sums up its verdict."""

_NOT_FOUND: Final = 404


class Check:
    """Asserts the verdicts of one test.

    ``record`` is its evidence. ``require_pods`` raises SuiteError when the run lost a sample pod: what looks like a
    violated claim may then follow from that.
    """

    def __init__(
        self,
        item: pytest.Item,
        claim: Claim,
        services: Services,
        record: TestRecord,
        require_pods: Callable[[], None],
    ) -> None:
        self._item = item
        self._claim = claim
        self._services = services
        self._record = record
        self._require_pods = require_pods

    def __call__(self, verdict: Verdict, *, headline: str = "") -> None:
        """Record a verdict and raise AssertionError, with its explanation, unless the claim holds.

        Raises SuiteError instead when a sample pod does not run any more.
        ``headline`` replaces the verdict's own when the claim holds.
        """
        text = headline if headline and verdict.ok else verdict.headline
        properties = self._item.user_properties
        properties[:] = [*(entry for entry in properties if entry[0] != HEADLINE), (HEADLINE, text)]
        if verdict.service is not None:
            self._record_objects(verdict.service)
        self._record.add(recorder.Conclusion(verdict, self._claim))
        if not verdict.ok:
            self._require_pods()
            if verdict.known is not None and verdict.known in self._claim.known:
                expect_known_behaviour(self._item, verdict.known)
            raise AssertionError(verdict.explain(self._claim))

    def _record_objects(self, service: ServiceState) -> None:
        """Record a Service and its EndpointSlices as the API serves them, unless the test has recorded them already."""
        if not self._record.open or self._record.has_objects_of(service):
            return
        since = time.time()
        # The verdict does not depend on these objects: when they cannot be read, the report says so.
        try:
            stored, slices = self._services.stored(service)
        except SuiteError as error:
            deleted = isinstance(error, ApiError) and error.status == _NOT_FOUND
            if not deleted:
                self._record.add(recorder.Note(f"{service.key} as served", f"not available: {error.what}"), since=since)
        else:
            read = recorder.ServiceStored((service,), (stored,), tuple(slices), recorder.READ)
            self._record.add(read, since=since)
