"""Checks that this machine can run an embedded cluster, before anything is created.

Kernel features are tested by using them, in a temporary network namespace, with the matches and targets that kube-proxy
uses: the kernel loads modules on demand, and a missing module is named.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded import cgroups, iptables_variant
from session_affinity.clusters.options import IPTABLES_VARIANTS, LEGACY
from session_affinity.dataplane.iptables.expected import FULL_MASK
from session_affinity.dataplane.proxy_config import IPTABLES, NFTABLES, NO_KUBE_PROXY
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import Family

_MOUNT_SETATTR = (5, 12)
"""The kernel that mount_setattr(2) came with."""
_LAZY_TABLES = (5, 15)
"""The kernel from which a network namespace has a legacy table only if somebody has looked at it there.

Before, the host gets empty ones when the module is loaded, and iptables-nft warns of them from then on
(netfilter: x_tables: never register tables by default).
"""
_IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")
_PROC = Path("/proc")
_INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_PER_NODE = 13
"""Inotify instances per node, counted on running clusters: containerd, its shims, kubelet and kube-proxy."""
AMPLE_INOTIFY = 1000
"""A limit this far above the need is accepted without counting the instances in use, which takes time."""


@dataclass(frozen=True)
class RequiredTool:
    """A program that the host must have, and its Debian package."""

    name: str
    package: str


_TOOLS = (
    RequiredTool("nsenter", "util-linux"),
    RequiredTool("unshare", "util-linux"),
    RequiredTool("mount", "mount"),
    RequiredTool("iptables", "iptables"),
    RequiredTool("iptables-save", "iptables"),
    RequiredTool("iptables-restore", "iptables"),
    RequiredTool("ip6tables", "iptables"),
    RequiredTool("conntrack", "conntrack"),
    RequiredTool("curl", "curl"),
    RequiredTool("ip", "iproute2"),
)
_IPV6_TOOLS = (RequiredTool("ip6tables-save", "iptables"), RequiredTool("ip6tables-restore", "iptables"))
_NFTABLES_TOOL = RequiredTool("nft", "nftables")


@dataclass(frozen=True)
class Feature:
    """A kernel feature: a command with its standard input that needs it, and the modules that provide it."""

    name: str
    argv: tuple[str, ...]
    stdin: str
    provided_by: str


def _nat_rule(rule: str) -> str:
    return f"*nat\n:TRY - [0:0]\n-A TRY {rule}\nCOMMIT\n"


def _iptables(name: str, rule: str, provided_by: str, program: str = "iptables") -> Feature:
    return Feature(f"the {program} {name}", (f"{program}-restore", "--noflush"), _nat_rule(rule), provided_by)


def _nft(family: str, address: str, provided_by: str) -> Feature:
    return Feature(
        f"nftables with dynamic sets and DNAT, family {family}",
        ("nft", "-f", "-"),
        f"add table {family} try\n"
        f"add set {family} try s {{ type ipv{4 if family == 'ip' else 6}_addr; flags dynamic,timeout; timeout 30s; }}\n"
        f"add chain {family} try c {{ type nat hook prerouting priority -100; }}\n"
        f"add rule {family} try c meta l4proto tcp update @s {{ {family} saddr }} dnat to {address}:80\n",
        provided_by,
    )


_NETWORK = (
    Feature("veth links", ("ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"), "", "module veth"),
    Feature("bridges", ("ip", "link", "add", "try2", "type", "bridge"), "", "module bridge"),
)
_IPTABLES = (
    _iptables(
        "match `recent`, which kube-proxy uses for session affinity",
        "-m recent --rcheck --seconds 30 --reap --name TRY --mask 255.255.255.255 --rsource -j RETURN",
        "module xt_recent (CONFIG_NETFILTER_XT_MATCH_RECENT)",
    ),
    _iptables(
        "match `statistic`",
        "-m statistic --mode random --probability 0.5 -j RETURN",
        "module xt_statistic",
    ),
    _iptables("match `comment`", '-m comment --comment "try" -j RETURN', "module xt_comment"),
    _iptables("match `addrtype`", "-m addrtype --dst-type LOCAL -j RETURN", "module xt_addrtype"),
    _iptables("target MARK", "-j MARK --or-mark 0x4000", "module xt_mark"),
    _iptables("target DNAT", "-p tcp -j DNAT --to-destination 127.0.0.1:80", "modules nf_nat, xt_nat"),
    _iptables("target MASQUERADE", "-j MASQUERADE --random-fully", "module xt_MASQUERADE"),
)
_IP6TABLES = (
    _iptables(
        "match `recent`",
        f"-m recent --rcheck --seconds 30 --reap --name TRY --mask {FULL_MASK['IPv6']} --rsource -j RETURN",
        "modules ip6_tables, xt_recent",
        "ip6tables",
    ),
    _iptables("target DNAT", "-p tcp -j DNAT --to-destination [::1]:80", "modules ip6table_nat, xt_nat", "ip6tables"),
    _iptables("target MASQUERADE", "-j MASQUERADE --random-fully", "module xt_MASQUERADE", "ip6tables"),
)
_NFTABLES = (_nft("ip", "127.0.0.1", "modules nf_tables, nft_nat, nft_dynset"),)
_NFTABLES_IPV6 = (_nft("ip6", "[::1]", "modules nf_tables_ipv6, nft_nat, nft_dynset"),)


def check(
    proxy_mode: str,
    nodes: int = 4,
    families: Sequence[Family] = ("IPv4",),
    *,
    variant: str = "",
    node_programs: bool = False,
) -> None:
    """Raise PreflightError naming what this machine lacks for the proxy mode and IP families, and how to get it.

    ``variant`` is that of iptables on the nodes, empty for the machine's own. ``node_programs`` says whether the nodes
    are to run a program of the user's.
    """
    if platform.system() != "Linux":
        raise PreflightError(
            f"the embedded cluster needs Linux namespaces, and this machine runs {platform.system()}",
            next_step="run in a Linux virtual machine, or use --cluster kind or external",
        )
    if os.geteuid() != 0:
        raise PreflightError(
            "the embedded cluster needs root: it creates network, mount and PID namespaces for its nodes",
            next_step="run the same command as root (sudo)",
        )
    mode_tools = (_NFTABLES_TOOL,) if proxy_mode == "nftables" else ()
    tools = (*_TOOLS, *mode_tools, *(_IPV6_TOOLS if "IPv6" in families else ()))
    missing = [tool for tool in tools if shutil.which(tool.name) is None]
    if missing:
        packages = " ".join(dict.fromkeys(tool.package for tool in missing))
        raise PreflightError(
            f"programs not found on PATH: {', '.join(tool.name for tool in missing)}",
            next_step=f"run make setup, or on Debian: apt-get install {packages}",
        )
    cgroups.require_controllers()
    if node_programs:
        cgroups.require_v2()
        _require_kernel(*_MOUNT_SETATTR, "the machine's files cannot be made read-only for the program of a node")
    _require_overlay()
    _require_inotify(nodes)
    if "IPv6" in families:
        _require_ipv6()
    lacking = missing_features((*_NETWORK, *features(proxy_mode, families, variant)))
    if lacking:
        raise PreflightError(
            "this kernel lacks:\n" + "\n".join(f"    {line}" for line in lacking),
            next_step="load the named modules with modprobe, or boot a kernel that has them",
        )


def iptables_variant_of(families: Sequence[Family]) -> str:
    """Return the variant of iptables for the nodes of a cluster where none is asked for; see ``iptables_variant``.

    legacy where this machine has it, because kube-proxy and whoever reads its rules need half the time with it, and
    where the host stays without its tables; else nft. Empty where nodes can have the machine's own alone.
    """
    for variant in IPTABLES_VARIANTS:
        if variant == LEGACY and _kernel() < _LAZY_TABLES:
            continue
        if iptables_variant.programs_of(variant) and not missing_features(features(IPTABLES, families, variant)):
            return variant
    return ""


def features(proxy_mode: str, families: Sequence[Family], variant: str = "") -> tuple[Feature, ...]:
    """Return the kernel features that kube-proxy needs; it programs IPv4 in clusters of every IP family."""
    if proxy_mode == NO_KUBE_PROXY:
        return ()
    ipv4, ipv6 = (_NFTABLES, _NFTABLES_IPV6) if proxy_mode == NFTABLES else (_IPTABLES, _IP6TABLES)
    needed = (*ipv4, *(ipv6 if "IPv6" in families else ()))
    return tuple(_of_variant(feature, variant) for feature in needed) if variant else needed


def _of_variant(feature: Feature, variant: str) -> Feature:
    """Return a feature of iptables, tried with the program of a variant, and any other as it is."""
    program, *arguments = feature.argv
    kind, separator, end = program.partition("-")
    if not kind.endswith("tables"):
        return feature
    return replace(feature, argv=(f"{kind}-{variant}{separator}{end}", *arguments))


def _require_kernel(major: int, minor: int, otherwise: str) -> None:
    if _kernel() < (major, minor):
        raise PreflightError(
            f"this kernel is {platform.release()}, and before {major}.{minor} {otherwise}",
            next_step=f"boot a kernel from {major}.{minor} on",
        )


def _kernel() -> tuple[int, ...]:
    """Return the first two numbers of this kernel's release."""
    return tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def _require_ipv6() -> None:
    if not _IPV6_SETTINGS.exists():
        raise PreflightError(
            "IPv6 is disabled in this kernel: it was built without IPv6, or booted with ipv6.disable=1",
            next_step="boot with IPv6 enabled, or use --ip-family ipv4",
        )


def _require_inotify(nodes: int) -> None:
    """Raise PreflightError when too few inotify instances are free: kubelet and containerd exit without them.

    Two or three clusters use up the usual default of fs.inotify.max_user_instances, 128.
    """
    limit = int(_INOTIFY_LIMIT.read_text())
    needed = nodes * INOTIFY_PER_NODE
    if limit >= AMPLE_INOTIFY + needed:
        return
    used = sum(map(_inotify_instances, _PROC.glob("[0-9]*")))
    if used + needed > limit:
        raise PreflightError(
            f"{used} of {limit} inotify instances are in use, and a cluster of {nodes} nodes needs about {needed} more",
            next_step="run sysctl -w fs.inotify.max_user_instances=1024, or take another cluster down",
        )


def _inotify_instances(process: Path) -> int:
    """Return how many a process has; none when it has ended."""
    try:
        return sum(map(_is_inotify, (process / "fd").iterdir()))
    except OSError:
        return 0


def _is_inotify(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except OSError:
        return False


def _require_overlay() -> None:
    if "\toverlay\n" in Path("/proc/filesystems").read_text():
        return
    if (
        shutil.which("modprobe")
        and subprocess.run(("modprobe", "overlay"), capture_output=True, check=False).returncode == 0
    ):
        return
    raise PreflightError(
        "this kernel has no overlay file system, which containerd needs for the layers of images",
        next_step="run modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS",
    )


def missing_features(features: tuple[Feature, ...]) -> list[str]:
    """Test each feature in a new network namespace; return a line for each that this kernel lacks."""
    missing = []
    for feature in features:
        # In a mount namespace too, for the lock file of iptables below /run.
        completed = subprocess.run(
            ("unshare", "--net", "--mount", "--", *feature.argv),
            input=feature.stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEFAULTS.preflight_try,
        )
        if completed.returncode != 0:
            lines = (completed.stderr or completed.stdout).strip().splitlines()
            missing.append(f"{feature.name}: {feature.provided_by}; {lines[0] if lines else 'no message'}")
    return missing
