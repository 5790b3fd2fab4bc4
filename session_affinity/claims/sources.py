"""Where a promise can be read: the source of a claim as a link."""

from __future__ import annotations

import re
from typing import Final

_API_REFERENCE: Final = "https://kubernetes.io/docs/reference/kubernetes-api/service-resources"
_PATTERNS: Final = (
    (re.compile(r"(?P<url>https?://\S+)"), "{url}"),
    (re.compile(r"Service\.(?:spec|status)\b"), f"{_API_REFERENCE}/service-v1/#ServiceSpec"),
    (re.compile(r"EndpointSlice\b"), f"{_API_REFERENCE}/endpoint-slice-v1/"),
    (re.compile(r"KEP[- ]?(?P<number>\d+)"), "https://kep.k8s.io/{number}"),
    (re.compile(r"kube-proxy (?P<path>[\w./-]+\.go)"), "https://github.com/kubernetes/kubernetes/blob/master/{path}"),
    (re.compile(r"kubernetes(?:/kubernetes)? ?#(?P<number>\d+)"), "https://github.com/kubernetes/kubernetes/issues/{number}"),
    (re.compile(r"Linux (?P<path>[\w./-]+\.[ch])"), "https://github.com/torvalds/linux/blob/master/{path}"),
)  # fmt: skip


def link(source: str) -> str:
    """Return the address of a source as claims name it; empty when it is none that has one."""
    for pattern, address in _PATTERNS:
        if found := pattern.search(source):
            return address.format(**found.groupdict())
    return ""
