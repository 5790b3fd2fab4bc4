"""Faults that can be injected into a cluster. Each function returns an injection for ``Defect.injected``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from session_affinity.kube.resources import Resource
from session_affinity.waiting import poll
from tests.defects import api_view
from tests.defects.defect import Place
from tests.defects.defective_cluster import CLAIM_SECONDS, PROBE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.defects.defect import Injection
    from tests.defects.defective_cluster import DefectiveCluster

CHANGING = Resource("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", namespaced=False)
CHANGING_BINDINGS = Resource("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", namespaced=False)
REFUSING = Resource("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", namespaced=False)
REFUSING_BINDINGS = Resource("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", namespaced=False)
API_VIEW_PORT = 10999
FLUSH_SETS = (
    "nft list sets table ip kube-proxy | sed -n 's/^.*set \\(affinity-[^ ]*\\) .*/\\1/p' | "
    "while read -r set; do nft flush set ip kube-proxy $set; done"
)
"""The shell command that removes all affinity entries of a node in nftables mode."""
_IS_PROBE = f"object.metadata.name == '{PROBE}'"


def written(sed: str, *, at: Place = Place.SICK, program: str = "iptables-restore") -> Injection:
    """Have what kube-proxy writes on a node go through a sed script (-E): persistent, no resync heals it.

    ``program`` is what it writes by: iptables-restore, ip6tables-restore or nft.
    """

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        file = cluster.filter(at, program)
        file.write_text(f"{sed}\n")
        try:
            yield
        finally:
            file.unlink()

    return injected


def misread(change: str, *, at: Place = Place.SICK) -> Injection:
    """Have a node's kube-proxy read Services and EndpointSlices changed, by a function of ``api_view``."""

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        state = cluster.cluster.state.node(cluster.node(at))
        configuration = json.loads((state / "kube-proxy.yaml").read_text())
        kubeconfig = cluster.directory / "kubeconfig"
        view = {"server": f"http://127.0.0.1:{API_VIEW_PORT}"}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "view"}
        config |= {"clusters": [{"name": "view", "cluster": view}]}
        config |= {"contexts": [{"name": "view", "context": {"cluster": "view", "user": ""}}]}
        kubeconfig.write_text(json.dumps(config))
        client = {"kubeconfig": str(kubeconfig), "contentType": "application/json"}
        client["acceptContentTypes"] = "application/json"
        argv = (sys.executable, api_view.__file__, str(state / "kube-proxy.kubeconfig"), str(API_VIEW_PORT), change)
        file = cluster.configuration(at)
        with subprocess.Popen(cluster.argv(at, *argv), start_new_session=True) as process:
            try:
                file.write_text(json.dumps({**configuration, "clientConnection": client}))
                cluster.restart_kube_proxy(at)
                yield
            finally:
                file.unlink()
                kubeconfig.unlink()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                cluster.restart_kube_proxy(at)

    return injected


def stopped(*, at: Place = Place.SICK, program: str = "kube-proxy", once: str = "", times: int = 1) -> Injection:
    """Have a program of a node hang (SIGSTOP): at once, or when the node's rules match ``once`` so many ``times``."""

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        stopping = threading.Event()
        thread = threading.Thread(target=stop, args=(cluster, stopping))
        thread.start()
        if not once:
            thread.join()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            cluster.on_node(at, "pkill", "-CONT", "-o", "-x", program)

    def stop(cluster: DefectiveCluster, stopping: threading.Event) -> None:
        pattern = re.compile(once)

        def is_time() -> bool:
            return len(pattern.findall(cluster.rules(at))) >= times

        if not once or poll(is_time, CLAIM_SECONDS * cluster.deadline_scale, pause=0.02, cancelled=stopping):
            cluster.on_node(at, "pkill", "-STOP", "-o", "-x", program)

    return injected


def running(script: str, *, at: Place = Place.SICK) -> Injection:
    """Have a shell script run on a node, as root in the node's namespaces, for as long as claims are checked."""

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        # In the foreground: timeout would leave the group that is ended below.
        argv = cluster.argv(at, "timeout", "--foreground", "300", "sh", "-c", script)
        with subprocess.Popen(argv, start_new_session=True, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    return injected


def arranged(script: str, undo: str, *, at: Place = Place.SICK) -> Injection:
    """Have a shell script run once on a node, as root there, and another when it is over.

    ``$webpod1`` to ``$webpod3`` and ``$client`` are the addresses of the sample pods.
    """

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        addresses = [f"{name}={address}" for name, address in cluster.addresses().items()]
        try:
            cluster.on_node(at, "env", *addresses, "sh", "-e", "-c", script)
            yield
        finally:
            cluster.on_node(at, "env", *addresses, "sh", "-e", "-c", undo)

    return injected


def repeated(command: str, *, at: Place = Place.SICK, pause: float = 0.005) -> Injection:
    """Have a shell command run on a node again and again, ``pause`` seconds apart."""
    return running(f"while :; do {command}; sleep {pause}; done 2>/dev/null", at=at)


def changed_by_the_api(spec: str, *, when: str, operations: tuple[str, ...] = ("CREATE", "UPDATE")) -> Injection:
    """Have the API change the specification of Services before it stores them, when a CEL expression says so.

    ``spec`` is CEL too, the fields to be set: ``sessionAffinity: 'None'``. To the suite that is no different from an
    API server which is wrong itself: it sees what it asks for and what is stored.
    """
    own = f"{_during(operations)} && {when} ? Object{{spec: Object.spec{{{spec}}}}} : Object{{}}"
    return _changing({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": own}})


def patched_by_the_api(patch: str, *, when: str, operations: tuple[str, ...] = ("CREATE", "UPDATE")) -> Injection:
    """Have the API change Services by a JSON patch in CEL, ``[JSONPatch{op: 'remove', path: '/spec/...'}]``."""
    expression = f"{_during(operations)} && {when} ? {patch} : []"
    return _changing({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})


def refused_by_the_api(valid: str, *, message: str, warn: bool = False) -> Injection:
    """Have the API refuse Services for which a CEL expression is not true, or only warn of them."""
    own = {"expression": f"{_IS_PROBE} || ({valid})", "message": message}
    probed = {"expression": f"!({_IS_PROBE})", "message": PROBE}
    spec = {"failurePolicy": "Fail", "validations": [probed, own], **_matching()}
    actions = {"validationActions": ["Warn" if warn else "Deny"]}
    return _policy("ValidatingAdmissionPolicy", REFUSING, REFUSING_BINDINGS, spec, actions)


def _changing(mutation: dict[str, Any]) -> Injection:
    label = f"Object{{metadata: Object.metadata{{labels: {{'{PROBE}': 'true'}}}}}}"
    probed = {"expression": f"{_IS_PROBE} ? {label} : Object{{}}"}
    mutations = [mutation, {"patchType": "ApplyConfiguration", "applyConfiguration": probed}]
    spec = {"reinvocationPolicy": "Never", "failurePolicy": "Fail", "mutations": mutations, **_matching()}
    return _policy("MutatingAdmissionPolicy", CHANGING, CHANGING_BINDINGS, spec, {})


def both(*injections: Injection) -> Injection:
    """Have several defects at the same time."""

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for injection in injections:
                stack.enter_context(injection(cluster))
            yield

    return injected


def _during(operations: tuple[str, ...]) -> str:
    return f"request.operation in [{', '.join(map(repr, operations))}]"


def _matching() -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["services"]}
    return {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "ours", "expression": "object.metadata.name.startsWith('affinity-')"}],
    }


def _policy(
    kind: str, resource: Resource, bindings: Resource, spec: dict[str, Any], binding: dict[str, Any]
) -> Injection:
    name = "affinity-defect"

    @contextlib.contextmanager
    def injected(cluster: DefectiveCluster) -> Iterator[None]:
        api = cluster.api()
        made = {"apiVersion": resource.group_version, "metadata": {"name": name}}
        try:
            api.create({**made, "kind": kind, "spec": spec}, resource)
            api.create({**made, "kind": f"{kind}Binding", "spec": {"policyName": name, **binding}}, bindings)
            cluster.wait_for_api(changed=True)
            yield
        finally:
            api.delete(bindings, name)
            api.delete(resource, name)
            cluster.wait_for_api(changed=False)

    return injected
