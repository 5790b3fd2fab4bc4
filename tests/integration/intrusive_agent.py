"""A node program that leaves as much as it can: BPF programs, files, sysctls and mounts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.integration import bpf

MARK: Final = "session-affinity-intruder"
SYSCTLS: Final = ("kernel/timer_migration", "kernel/unprivileged_bpf_disabled", "vm/swappiness")
"""Sysctls of the whole machine, all of which Cilium or kubelet sets."""


def main() -> None:
    """Do it, say what came of it, and stay."""
    program = bpf.load_passing()
    bpf.attach(program, Path(os.environ["CGROUP_V2_DIR"]))
    bpf.pin(program, Path(os.environ["BPF_DIR"], MARK))
    for directory in ("/etc", "/opt", "/tmp", "/run", "/usr"):
        try:
            Path(directory, MARK).write_text("")
        except OSError as error:
            sys.stderr.write(f"{directory}: {error.strerror}\n")
    for name in SYSCTLS:
        file = Path("/proc/sys", name)
        file.write_text("2\n")
        sys.stderr.write(f"{name}: {file.read_text()}")
    Path("/run", f"{MARK}.mount").mkdir(exist_ok=True)
    subprocess.run(("mount", "-t", "tmpfs", "tmpfs", f"/run/{MARK}.mount"), check=True)
    sys.stderr.write("done\n")
    time.sleep(1e6)


if __name__ == "__main__":
    main()
