"""All deadlines of the project, in seconds, for a machine that is not slow.

``--deadline-scale`` is applied once, where the options are read: functions get scaled deadlines. Durations that belong
to an experiment (a Service's timeout, the moment of a request) are no deadlines and are defined where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final


@dataclass(frozen=True)
class Deadlines:
    """How long each operation may take, in seconds, multiplied by ``scale`` already."""

    scale: float = 1.0
    """Also applied to a few durations that are no deadlines: the timeouts of one request, the windows of verdicts about
    expiry, the number of concurrent requests to the API."""

    # The API, and commands in pods.
    api_request: float = 15.0
    """One request to the API, and its repetitions while the API server is overloaded or starting."""
    api_connect: float = 5.0
    """A TCP connection to the API server of an external cluster."""
    api_first_answer: float = 2.5
    """One attempt of the first request to an external cluster; the client makes two."""
    pod_log: float = 5.0
    """Reading a container's log after a failure."""
    exec_start: float = 10.0
    """Starting a command in a pod, without the time of the command itself."""

    # Pods and Services.
    pods_ready: float = 60.0
    """Pods from their creation until they are Ready, pulling of images included."""
    endpoints_reachable: float = 10.0
    """Pods from being Ready until a client reaches all of them: a program may not listen yet."""
    endpoints: float = 15.0
    """A Service from its creation or change until its EndpointSlices are right."""
    default_service_account: float = 10.0
    """A namespace from its creation until it has its default service account, without which it admits no pod."""
    namespace_removal: float = 60.0
    """A namespace from its deletion until it is gone with all its objects."""
    namespace_lifetime: float = 6 * 3600.0
    """A namespace from its creation until runs on other machines may treat it as a leftover; a run takes minutes."""
    agents_ready: float = 90.0
    """All node agents until they are Ready, pulling of the image on every node included."""
    agents_refused: float = 3.0
    """How long no pod of the node agent may exist before the events are read for the reason."""

    # Nodes.
    node_read: float = 15.0
    """One command on a node, such as reading its rules."""
    node_second_try: float = 3.0
    """One command on a node whose last one failed, so that a node that stopped answering does not slow down the run."""
    node_retry: float = 30.0
    """A node from failing to answer until it is tried again together with all others."""
    node_diagnostics: float = 10.0
    """One command on a node that collects evidence after a failure."""
    sync: float = 10.0
    """A change of a Service until the nodes have it: a sync of kube-proxy and its pause before that."""
    sentinel_after: float = 2.0
    """How long nodes may differ before a sentinel Service is created, which shows whether they are slow or wrong."""
    kube_proxy_start: float = 20.0
    """A kube-proxy from being killed until its successor answers."""
    kube_proxy_sync: float = 4.0
    """Catching a kube-proxy in a sync, without the minSyncPeriod that it may wait for before."""

    # Scenarios.
    first_answers: float = 10.0
    """A stream of requests from its start until it has enough answers to begin with."""
    answers_after_change: float = 20.0
    """A stream of requests until it has enough answers after a change; some requests may time out."""
    short_timeout: float = 10.0
    """An affinity entry with a timeout of 2 s until it has expired by the node's clock."""
    shared_wait_overtime: float = 90.0
    """The shared wait without the wait itself: creating and patching Services, sending requests, reading nodes."""
    shared_wait_cancel: float = 15.0
    """The shared wait from being cancelled until its thread has ended: at most one request to the API is under way."""
    background: float = 240.0
    """The scenarios that go on while other tests run, until all of them are over."""
    shapes: float = 240.0
    """All Services of an array until they are compared on every node and deleted, and until the smallest shape that
    differs is found."""
    shapes_in_batches: float = 600.0
    """The same on a cluster on which not all Services of an array may exist at the same time."""
    room: float = 30.0
    """Generated Services of a run until they are deleted and quotas do not count them, so that others can be made."""

    # The embedded cluster.
    embedded_api: float = 60.0
    """The API server of an embedded cluster from its start until it is ready."""
    embedded_api_call: float = 30.0
    """One request to that API server while the cluster starts."""
    embedded_nodes: float = 60.0
    """The nodes of an embedded cluster until they exist; then, once more, until they are Ready."""
    embedded_dataplane: float = 30.0
    """The user's node programs from the moment that all nodes are Ready until Services answer on every node."""
    embedded_probe: float = 10.0
    """One request for /readyz by a node that waits for the API server before it starts its programs."""
    embedded_down: float = 20.0
    """Taking an embedded cluster down: half of it for ending after SIGTERM, half for ending after SIGKILL."""
    cgroup_removal: float = 10.0
    """The cgroups of an embedded cluster until all their processes have ended and they are removed."""
    cluster_lock: float = 1.0
    """Taking the lock of an embedded cluster's name, which another process may be releasing."""
    image_import: float = 120.0
    """Importing an image archive on a node of an embedded cluster."""
    preflight_try: float = 60.0
    """Trying out in separate namespaces what an embedded cluster needs of the kernel."""

    # Its programs.
    download_connect: float = 3.0
    """A connection to a server of releases."""
    download_stall: float = 10.0
    """How long a download may go without a byte."""
    program_check: float = 20.0
    """Running a built or downloaded program once, to check its version."""
    build_stop: float = 5.0
    """A build from being interrupted until its processes have ended, before they are killed."""

    # The kind cluster.
    engine_answer: float = 10.0
    """The container engine's answer to a first command."""
    engine_command: float = 30.0
    """One command of the container engine."""
    engine_pull: float = 600.0
    """Pulling an image."""
    kind_command: float = 600.0
    """One command of kind; pytest-kubernetes' 240 s are too short where the node image is pulled too."""
    kind_ready: float = 120.0
    """A kind cluster from its creation until its nodes are Ready and kube-proxy has synced."""
    kind_found: float = 5.0
    """A kind cluster that an earlier run left, until it answers and its nodes are Ready."""
    kind_logs: float = 60.0
    """Exporting the logs of a kind cluster's nodes."""
    kind_removal: float = 60.0
    """Deleting a kind cluster until the engine has none of its containers."""
    kind_stop: float = 2.0
    """kind from SIGTERM until it has ended, before it is killed."""

    # Around a run.
    git: float = 5.0
    """Running git for the commit in a report."""
    registry_request: float = 30.0
    """One request to a registry or an index of releases, when new Kubernetes versions are looked for."""
    matrix_leg_stop: float = 60.0
    """A leg of the matrix from being interrupted until it has taken its cluster down, before it is terminated."""

    def scaled(self, factor: float) -> Deadlines:
        """Return the same deadlines, each ``factor`` times as long."""
        return Deadlines(**{field.name: getattr(self, field.name) * factor for field in fields(self)})


DEFAULTS: Final = Deadlines()
"""The deadlines for a machine that is not slow."""
