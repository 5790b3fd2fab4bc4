"""The variants of iptables: which of the two keeps the rules that kube-proxy writes on the nodes.

Both print and take the same rules. A node sees the machine's programs, and links of /etc/alternatives of its own, as
after ``update-alternatives --set iptables``: ``iptables`` is that variant for everything that runs on the node.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from session_affinity.clusters.embedded import linux
from session_affinity.errors import PreflightError

ALTERNATIVES: Final = Path("/etc/alternatives")
"""Where Debian, Fedora and their like have a link to the program that a general name means."""
_PROGRAMS: Final = tuple((kind, end) for kind in ("iptables", "ip6tables") for end in ("", "-save", "-restore"))


def programs_of(variant: str) -> dict[str, Path]:
    """Return the programs of a variant by their general names; none where the machine does not have all of them.

    None either where the general names are no links of /etc/alternatives: then they cannot mean something else.
    """
    found: dict[str, Path] = {}
    for kind, end in _PROGRAMS:
        program, general = (shutil.which(name) for name in (f"{kind}-{variant}{end}", f"{kind}{end}"))
        link = ALTERNATIVES / f"{kind}{end}"
        if not (program and general and link.is_symlink() and _leads_to(Path(general), link)):
            return {}
        found[f"{kind}{end}"] = Path(program)
    return found


def require(variant: str) -> None:
    """Raise PreflightError where nodes cannot have a variant."""
    if not programs_of(variant):
        raise PreflightError(
            f"iptables-{variant} cannot be what iptables means on the nodes: its programs are not on PATH, or the"
            f" general names are no links of {ALTERNATIVES}",
            next_step="on Debian: apt-get install iptables; or leave --iptables out",
        )


def use(variant: str) -> None:
    """Make a variant the one of this mount namespace; raises OSError."""
    links = {path.name: path.readlink() for path in ALTERNATIVES.iterdir() if path.is_symlink()}
    links |= programs_of(variant)
    linux.mount("tmpfs", ALTERNATIVES, "tmpfs", linux.MS_NODEV, "mode=755")
    for name, target in links.items():
        (ALTERNATIVES / name).symlink_to(target)


def _leads_to(path: Path, link: Path) -> bool:
    """Whether a path is a link that names another one."""
    return path.is_symlink() and path.parent / path.readlink() == link
