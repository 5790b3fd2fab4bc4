"""Command lines, configuration files and credentials of every program in the cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from session_affinity.clusters.embedded import bootstrap_policy, node_program, proxy_settings
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.layout import API_PORT, API_SERVICE, CLUSTER_DNS, ETCD_PORT, Layout, NodeLayout
from session_affinity.clusters.embedded.process import Gate, Process
from session_affinity.dataplane.model import family_of, host_port
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.clusters.embedded.state import StateDirectory

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
SYNC_PERIOD_SECONDS = 1
"""How often kube-proxy looks whether its rules are still there: short, because claims wait for as long as that."""
MIN_SYNC_PERIOD_SECONDS = 0.5
"""How long kube-proxy waits after a sync before the next one: half its default, because most waits of a run are for a
sync. With 0.25 s the waits are as long, since kube-proxy needs a fifth more processor time."""
_KUBE_PROXY = "kube-proxy.yaml"
_ANYWHERE = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}


def processes_of(layout: Layout, node: NodeLayout, state: StateDirectory) -> tuple[Process, ...]:
    """Return the programs that the node's first process starts, with the conditions of their start."""
    processes = _node_processes(layout, node, state)
    if node.control_plane:
        processes = (*_control_plane_processes(layout, state), *processes)
    configured = Gate("file", str(state.configured))
    return tuple(replace(process, after=(configured, *process.after)) for process in processes)


def _api_serves(layout: Layout, state: StateDirectory) -> Gate:
    """The API server answers the requests of the cluster's programs."""
    return replace(bootstrap_policy.ready_gate(layout, state.pki), path=bootstrap_policy.readiness_path(layout))


def _control_plane_processes(layout: Layout, state: StateDirectory) -> tuple[Process, ...]:
    pki = state.pki
    programs = layout.programs
    etcd_url = f"https://127.0.0.1:{ETCD_PORT}"
    peer_url = f"https://127.0.0.1:{ETCD_PORT + 1}"
    directory = state.node(layout.control_plane.name)
    etcd = Process(
        "etcd",
        (
            programs["etcd"], "--name=etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync",
            # A single member waits for an election timeout before it leads: half a second with the defaults.
            "--heartbeat-interval=50", "--election-timeout=250",
            f"--listen-client-urls={etcd_url}", f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=etcd={peer_url}",
            "--client-cert-auth", f"--trusted-ca-file={pki}/ca.crt",
            f"--cert-file={pki}/etcd.crt", f"--key-file={pki}/etcd.key",
            "--peer-client-cert-auth", f"--peer-trusted-ca-file={pki}/ca.crt",
            f"--peer-cert-file={pki}/etcd.crt", f"--peer-key-file={pki}/etcd.key",
        ),
    )  # fmt: skip
    api_server = Process(
        "kube-apiserver",
        (
            programs["kube-apiserver"],
            f"--etcd-servers={etcd_url}", f"--etcd-cafile={pki}/ca.crt",
            f"--etcd-certfile={pki}/etcd-client.crt", f"--etcd-keyfile={pki}/etcd-client.key",
            f"--bind-address={layout.control_plane.address}", f"--secure-port={API_PORT}",
            f"--advertise-address={layout.control_plane.address}",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/service-accounts.pub",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            f"--service-cluster-ip-range={layout.service_range}", "--allow-privileged=true", "--profiling=false",
            # Hand-made Services are deleted in bulk, by default one after the other.
            "--delete-collection-workers=8",
        ),
        # Collecting garbage less often saves a tenth of the processor time of its start.
        environment=(("GOGC", "400"), ("GOMEMLIMIT", "1GiB")),
    )  # fmt: skip
    manager = Process(
        "kube-controller-manager",
        (
            programs["kube-controller-manager"],
            f"--kubeconfig={directory}/kube-controller-manager.kubeconfig",
            "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true",
            # With the default of 20 requests a second it spends five seconds on creating service accounts.
            "--kube-api-qps=300", "--kube-api-burst=600",
            "--allocate-node-cidrs=false", f"--cluster-cidr={layout.pod_range}", "--profiling=false",
            f"--service-account-private-key-file={pki}/service-accounts.key", f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
            "--flex-volume-plugin-dir=/var/lib/kubelet/plugins-exec",
            # On a busy machine a kubelet may be late with its status; its node must not be taken for lost.
            "--node-monitor-grace-period=5m",
            *_controllers(layout),
        ),
        # When it finds an API server that is not ready it waits for a second.
        after=(bootstrap_policy.ready_gate(layout, state.pki),),
    )  # fmt: skip
    scheduler = Process(
        "kube-scheduler",
        (
            programs["kube-scheduler"], f"--kubeconfig={directory}/kube-scheduler.kubeconfig",
            "--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
        ),
        after=(_api_serves(layout, state),),
    )  # fmt: skip
    return etcd, api_server, manager, scheduler


def _controllers(layout: Layout) -> tuple[str, ...]:
    """Return the option that leaves out the controllers of Endpoints, where kube-proxy is the only dataplane.

    It reads EndpointSlices; a fifth of a run's requests to the API were about Endpoints.
    """
    if layout.node_programs or not layout.has_kube_proxy:
        return ()
    return ("--controllers=*,-endpoints-controller,-endpointslice-mirroring-controller",)


def _node_processes(layout: Layout, node: NodeLayout, state: StateDirectory) -> tuple[Process, ...]:
    directory = state.node(node.name)
    programs = layout.programs
    containerd = Process("containerd", (programs["containerd"], "--config", f"{directory}/containerd.toml"))
    images = Process(
        "import-images",
        (
            programs["ctr"], "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io",
            "images", "import", "--local", layout.image_archive,
        ),
        after=(Gate("socket", CONTAINERD_SOCKET),),
        once=True,
    )  # fmt: skip
    kubelet = Process(
        "kubelet",
        (
            programs["kubelet"], f"--config={directory}/kubelet.yaml", f"--kubeconfig={directory}/kubelet.kubeconfig",
            f"--hostname-override={node.name}", f"--node-ip={','.join(node.addresses)}", "--root-dir=/var/lib/kubelet",
        ),
        after=(Gate("done", images.name), _api_serves(layout, state)),
    )  # fmt: skip
    return containerd, images, kubelet, *_dataplane_processes(layout, node, state)


def _dataplane_processes(layout: Layout, node: NodeLayout, state: StateDirectory) -> Iterator[Process]:
    if layout.has_kube_proxy:
        yield Process(
            "kube-proxy",
            (layout.programs["kube-proxy"], f"--config={state.node(node.name)}/{_KUBE_PROXY}"),
            after=(_api_serves(layout, state),),
            # One that has just started may panic, see F7 in docs/findings.md.
            restart_after_panic=True,
        )
    if layout.node_programs:
        cgroup_v2 = ClusterCgroups(layout.name).v2_mount_point
        yield node_program.process(layout, node, state, cgroup_v2)


def write_configuration(layout: Layout, state: StateDirectory, api_port: int) -> None:
    """Write certificates, kubeconfigs and configuration files of all nodes; keys and kubeconfigs have mode 0600.

    The programs start when the last one is written.
    """
    _write_credentials(layout, state, api_port)
    for node in layout.nodes:
        directory = state.node(node.name)
        _write_json(directory / "kubelet.yaml", _kubelet(layout, node, state))
        if layout.has_kube_proxy:
            settings = layout.proxy_settings.get(node.name, ())
            merged = reduce(proxy_settings.merged, settings, _kube_proxy(layout, node, state))
            _write_json(directory / _KUBE_PROXY, proxy_settings.with_long_sync_periods(merged))
        (directory / "resolv.conf").write_text(
            "".join(f"nameserver {address}\n" for address in layout.service_addresses(CLUSTER_DNS))
        )
        if layout.cni:
            (directory / "cni").mkdir()
            _write_json(directory / "cni" / "10-pods.conflist", _cni(node))
        (directory / "containerd.toml").write_text(_containerd(layout, directory))
    state.configured.touch()


def _write_credentials(layout: Layout, state: StateDirectory, api_port: int) -> None:
    from session_affinity.clusters.embedded.pki import Authority, Credential

    authority = Authority(state.pki, f"session-affinity cluster {layout.name}")
    server = f"https://{host_port(layout.control_plane.address, API_PORT)}"
    authority.key_pair("service-accounts")
    authority.issue("etcd", "etcd", names=("127.0.0.1", "localhost"), server=True)
    authority.issue("etcd-client", "kube-apiserver-etcd-client")
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client")
    authority.issue(
        "apiserver",
        "kube-apiserver",
        names=(
            *layout.control_plane.addresses, layout.control_plane.name, "127.0.0.1", "localhost",
            *layout.service_addresses(API_SERVICE),
            "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        ),
        server=True,
    )  # fmt: skip

    def kubeconfig(file: Path, address: str, user: str, credential: Credential) -> None:
        authority.kubeconfig(file, layout.name, address, user, credential)

    admin = authority.issue("admin", "session-affinity-admin", "system:masters")
    kubeconfig(state.kubeconfig, f"https://127.0.0.1:{api_port}", "session-affinity-admin", admin)
    control_plane = state.node(layout.control_plane.name)
    for component in ("kube-controller-manager", "kube-scheduler"):
        credential = authority.issue(component, f"system:{component}")
        kubeconfig(control_plane / f"{component}.kubeconfig", server, f"system:{component}", credential)
    proxy = authority.issue("kube-proxy", "system:kube-proxy") if layout.has_kube_proxy else None
    program = (
        authority.issue(node_program.NAME, node_program.USER, node_program.GROUP) if layout.node_programs else None
    )
    for node in layout.nodes:
        directory = state.node(node.name)
        user = f"system:node:{node.name}"
        credential = authority.issue(
            f"kubelet-{node.name}", user, "system:nodes", names=(*node.addresses, node.name), server=True
        )
        kubeconfig(directory / "kubelet.kubeconfig", server, user, credential)
        if proxy is not None:
            kubeconfig(directory / "kube-proxy.kubeconfig", server, "system:kube-proxy", proxy)
        if program is not None:
            kubeconfig(directory / f"{node_program.NAME}.kubeconfig", server, node_program.USER, program)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    """Write JSON, which every reader of these files accepts: JSON is valid YAML."""
    file.write_text(json.dumps(content, indent=1))


def _kubelet(layout: Layout, node: NodeLayout, state: StateDirectory) -> dict[str, Any]:
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(state.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(state.pki / f"kubelet-{node.name}.crt"),
        "tlsPrivateKeyFile": str(state.pki / f"kubelet-{node.name}.key"),
        "readOnlyPort": 0,
        "healthzPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # Kubelet must not change the host's sysctls; node_init bind-mounts files with the values it expects.
        "protectKernelDefaults": True,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        "resolvConf": str(state.node(node.name) / "resolv.conf"),
        "clusterDNS": list(layout.service_addresses(CLUSTER_DNS)),
        "clusterDomain": "cluster.local",
        "registerWithTaints": [taint] if node.control_plane else [],
        # With the default of 10 s a node can stay NotReady for 10 s after its network is ready. On a slow machine it
        # is less frequent, because computing the status costs CPU time.
        "nodeStatusUpdateFrequency": f"{min(2 * max(layout.deadline_scale, 1), 10):g}s",
        # The interval of reports of an unchanged status; its default is nodeStatusUpdateFrequency when that is set.
        "nodeStatusReportFrequency": "5m",
        "syncFrequency": "5s",
        "evictionHard": dict.fromkeys(
            ("nodefs.available", "imagefs.available", "nodefs.inodesFree", "imagefs.inodesFree"), "0%"
        ),
        "imageGCHighThresholdPercent": 100,
    }


def _kube_proxy(layout: Layout, node: NodeLayout, state: StateDirectory) -> dict[str, Any]:
    periods = {"syncPeriod": f"{SYNC_PERIOD_SECONDS}s", "minSyncPeriod": f"{MIN_SYNC_PERIOD_SECONDS}s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(state.node(node.name) / "kube-proxy.kubeconfig")},
        "mode": layout.proxy_mode,
        "clusterCIDR": layout.pod_range,
        "hostnameOverride": node.name,
        "bindAddress": node.address,
        "healthzBindAddress": host_port(node.address, 10256),
        "metricsBindAddress": "127.0.0.1:10249",
        # 0: do not set nf_conntrack_max, which is read-only outside the initial network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": periods,
        "nftables": periods,
    }


def read_kube_proxy(state: StateDirectory, node: str) -> dict[str, Any]:
    """Return the KubeProxyConfiguration of a node; raises ClusterError when its file cannot be read."""
    file = state.node(node) / _KUBE_PROXY
    try:
        configuration: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{node}: the configuration of kube-proxy cannot be read: {error}", next_step="see whether the cluster runs"
        ) from error
    return configuration


def _cni(node: NodeLayout) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "routes": [{"dst": _ANYWHERE[family_of(address)]} for address in node.addresses],
        "ranges": [[{"subnet": pods}] for pods in node.pod_cidrs],
    }
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd(layout: Layout, directory: Path) -> str:
    import jinja2

    template = (Path(__file__).parent / "templates" / "containerd.toml.j2").read_text()
    rendered: str = jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
        socket=CONTAINERD_SOCKET,
        pause_image=PAUSE_IMAGE,
        runc=layout.programs["runc"],
        cni_directories=[
            *([] if layout.cni else [str(node_program.CNI_PLUGINS)]),
            str(Path(layout.programs["ptp"]).parent),
        ],
        cni_configuration=str(directory / "cni" if layout.cni else node_program.CNI_CONFIGURATION),
    )
    return rendered
