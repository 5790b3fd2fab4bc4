"""What the Service itself says: fields with which affinity cannot work, and what ClientIP covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.objects import EXTERNAL_NAME, PROXY_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.inspection.observation import Observation


def not_requested(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the Service does not request affinity."""
    objects = observation.objects
    if objects.has_affinity or objects.type == EXTERNAL_NAME:
        return
    yield Diagnosis(
        "affinity-not-requested",
        Severity.BROKEN,
        "sessionAffinity is None: each connection goes to any endpoint.",
        f"kubectl patch service -n {objects.namespace} {objects.name} -p "
        '\'{"spec":{"sessionAffinity":"ClientIP"}}\'; a manifest that sets sessionAffinityConfig alone is stored'
        " without affinity",
        ("C02", "C09"),
    )


def headless(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the Service is headless."""
    if observation.objects.is_headless:
        yield Diagnosis(
            "headless",
            Severity.BROKEN,
            "The Service is headless (clusterIP None): DNS leads clients to the pods themselves, and no rule of"
            " kube-proxy is involved.",
            "use a Service with a cluster IP for these clients; clusterIP cannot be changed, so create a second one",
            ("C08", "C54"),
        )


def external_name(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that the Service is an alias in DNS."""
    objects = observation.objects
    if objects.type == EXTERNAL_NAME:
        yield Diagnosis(
            "external-name",
            Severity.BROKEN,
            f"The Service has type ExternalName: DNS leads clients to {objects.spec.get('externalName')}, and no rule"
            " of kube-proxy is involved.",
            "configure affinity at the host that the name leads to",
            ("C08",),
        )


def other_proxy(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that kube-proxy leaves the Service to another program."""
    if name := observation.objects.proxy_name:
        yield Diagnosis(
            "other-proxy",
            Severity.POSSIBLE,
            f"The label {PROXY_NAME_LABEL}={name} makes kube-proxy ignore the Service: affinity depends on {name}.",
            f"see whether {name} supports ClientIP, or remove the label",
        )


def separate_ports(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that each port and protocol has its own affinity."""
    objects = observation.objects
    ports = objects.spec.get("ports") or ()
    if not objects.has_affinity or not objects.cluster_ips or len(ports) < 2:
        return
    protocols = len({port.get("protocol") or "TCP" for port in ports}) > 1
    yield Diagnosis(
        "separate-ports",
        Severity.NOTE,
        f"Each of the {len(ports)} ports has its own affinity: a client of two ports may reach two pods.",
        "use one port for what must reach the same pod; no setting of kube-proxy joins ports",
        ("C36", "C36b") if protocols else ("C36",),
    )


def separate_families(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that each IP family has its own affinity."""
    objects = observation.objects
    if objects.has_affinity and len(objects.cluster_ips) > 1:
        yield Diagnosis(
            "separate-families",
            Severity.NOTE,
            "IPv4 and IPv6 have separate affinity: a client that uses both addresses may reach two pods.",
            "use ipFamilyPolicy SingleStack where clients change the IP family",
            ("C63",),
        )


DIAGNOSES = (not_requested, headless, external_name, other_proxy, separate_ports, separate_families)
