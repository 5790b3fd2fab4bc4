"""Diagnoses: pure functions from an observation to what keeps affinity from working."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.inspection.diagnoses import clients, endpoints, front, nodes, service
from session_affinity.inspection.diagnosis import Diagnosis, Severity

if TYPE_CHECKING:
    from session_affinity.inspection.observation import Observation

_MODULES = (nodes, service, endpoints, front, clients)


def diagnose(observation: Observation) -> tuple[Diagnosis, ...]:
    """Return everything that was diagnosed, the most severe first."""
    order = list(Severity)
    functions = [function for module in _MODULES for function in module.DIAGNOSES]
    diagnoses = [diagnosis for function in functions for diagnosis in function(observation)]
    return tuple(sorted(diagnoses, key=lambda diagnosis: order.index(diagnosis.severity)))
