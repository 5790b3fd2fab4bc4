"""An API server that stores, refuses or warns wrongly; the nodes are healthy."""

from __future__ import annotations

from tests.defects.defect import Defect
from tests.defects.inject import changed_by_the_api, patched_by_the_api, refused_by_the_api

_CONFIG = "Object.spec.sessionAffinityConfig"
_TIMEOUT = "object.spec.sessionAffinityConfig.clientIP.timeoutSeconds"
_OLD_TIMEOUT = "oldObject.spec.sessionAffinityConfig.clientIP.timeoutSeconds"
_STICKY = "object.spec.sessionAffinity == 'ClientIP'"
_WAS_STICKY = "oldObject.spec.sessionAffinity == 'ClientIP'"
_UPDATE = ("UPDATE",)
_CREATE = ("CREATE",)


def _seconds(value: str) -> str:
    return f"sessionAffinityConfig: {_CONFIG}{{clientIP: {_CONFIG}.clientIP{{timeoutSeconds: {value}}}}}"


DEFECTS = (
    Defect(
        "affinity is ClientIP by default",
        changed_by_the_api(
            f"sessionAffinity: 'ClientIP', {_seconds('10800')}",
            when="object.spec.sessionAffinity == 'None'",
            operations=_CREATE,
        ),
        fails={"C02": "seen: ClientIP, 10800 s"},
        passes=("C03", "C04"),
        at=None,
    ),
    Defect(
        "the default timeout is one hour",
        changed_by_the_api(_seconds("3600"), when=f"{_STICKY} && {_TIMEOUT} == 10800"),
        fails={"C03": "expected: ClientIP, 10800 s.*seen: ClientIP, 3600 s", "C07": "seen: ClientIP, 3600 s"},
        passes=("C02", "C04", "C06"),
        at=None,
    ),
    Defect(
        "the longest timeout is refused",
        refused_by_the_api(f"!({_STICKY}) || {_TIMEOUT} < 86400", message="must be less than 86400"),
        fails={"C04": "must be less than 86400"},
        passes=("C02", "C03", "C06", "C07"),
        at=None,
        fast=True,
    ),
    Defect(
        "a timeout of zero is stored as one second",
        changed_by_the_api(_seconds("1"), when=f"{_STICKY} && {_TIMEOUT} == 0"),
        fails={"C06": "6 of 8 refused.*422 Invalid.*stored as ClientIP, 1 s"},
        passes=("C03", "C04", "C07"),
        at=None,
    ),
    Defect(
        "after switching back to ClientIP the timeout is 30 seconds",
        changed_by_the_api(
            _seconds("30"), when=f"{_STICKY} && oldObject.spec.sessionAffinity == 'None'", operations=_UPDATE
        ),
        fails={
            "C07": "patched back to ClientIP.*seen: ClientIP, 30 s",
            "C56": "expected: ClientIP, 300 s",
            "C57": r"\+ +timeoutSeconds: 30",
        },
        passes=("C02", "C03", "C04"),
        at=None,
    ),
    Defect(
        "the API warns about affinity on an ordinary Service",
        refused_by_the_api(
            "object.spec.sessionAffinity == 'None'", message="spec.sessionAffinity is unusual", warn=True
        ),
        fails={"C54": "cluster IP, ClientIP.*seen: .*unusual"},
        passes=("C02", "C03"),
        at=None,
    ),
    Defect(
        "a changed timeout is not stored",
        changed_by_the_api(
            _seconds(_OLD_TIMEOUT),
            when=f"{_STICKY} && {_WAS_STICKY} && {_TIMEOUT} != {_OLD_TIMEOUT}",
            operations=_UPDATE,
        ),
        fails={"C55": "by force.*expected: ClientIP, 30 s.*seen: ClientIP, 600 s", "C56": "seen: ClientIP, 300 s"},
        passes=("C02", "C03", "C04", "C07"),
        at=None,
    ),
    Defect(
        "a headless Service gets a cluster IP",
        patched_by_the_api(
            "[JSONPatch{op: 'remove', path: '/spec/clusterIP'}]",
            when="has(object.spec.clusterIP) && object.spec.clusterIP == 'None'",
            operations=_CREATE,
        ),
        fails={"C08": "KUBE-SVC-"},
        passes=("C02", "C03"),
        at=None,
    ),
)
