#!/usr/bin/env bash
# Installs what the make targets need, where it is missing. Prints nothing and returns at once when all of it is there.
# Usage: setup.sh PYTHON VENV [python]
# With "python" only the Python environment: enough for everything that starts no embedded cluster, and needs no root.
# Without it also the system packages that an embedded cluster needs on its host (as root, with apt-get).
# Runs on bash 3.2, which macOS has: no associative arrays, no mapfile.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 what=${3:-all}

# Commands that the embedded cluster runs on its host, each with the Debian package that has it.
COMMANDS='iptables:iptables ip6tables:iptables nft:nftables conntrack:conntrack ip:iproute2 curl:curl
    nsenter:util-linux unshare:util-linux mount:mount ps:procps modprobe:kmod'

fail() {
    printf 'error: %s\n  next: %s\n' "$1" "$2" >&2
    exit 1
}

# Installs the packages in its arguments, or fails with the command to run.
install_packages() {
    local packages log
    packages=$(printf '%s\n' "$@" | sort -u | paste -sd ' ' -)
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "missing on this machine: $packages" "as root: apt-get install $packages (or what your distribution calls them)"
    fi
    echo "installing $packages" >&2
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of package names
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install $packages" "see the lines above"
    fi
    rm -f "$log"
}

missing=
if [ "$what" = all ]; then
    for pair in $COMMANDS; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
fi
# A copy of the lock in the environment marks what the environment was made from; another lock makes another one.
is_stale=
cmp -s requirements.lock "$venv/requirements.lock" || is_stale=yes
if [ -n "$is_stale" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python is not Python 3.11 or newer" "install one, or name it: make PYTHON=python3.12 ..."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
fi
# shellcheck disable=SC2086 # a list of package names
[ -z "$missing" ] || install_packages $missing

if [ -n "$is_stale" ]; then
    echo "creating the Python environment in $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    cp requirements.lock "$venv/requirements.lock"
fi
if ! cmp -s pyproject.toml "$venv/pyproject.toml"; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    # pytest searches for its configuration beside every path among its arguments, even one that is the value of an
    # option (--kubeconfig FILE), and would then miss this project's: PYTEST_ADDOPTS names it.
    "$venv/bin/python" - "$PWD/pytest.toml" <<'PYTHON'
import pathlib, shlex, sys, sysconfig
options = f"-c {shlex.quote(sys.argv[1])}"
line = f"import os; os.environ.setdefault('PYTEST_ADDOPTS', {options!r})\n"
pathlib.Path(sysconfig.get_path("purelib"), "session_affinity_pytest.pth").write_text(line)
PYTHON
    cp pyproject.toml "$venv/pyproject.toml"
fi

[ "$what" = all ] || exit 0
# A compiler and headers are needed only where runc can be neither downloaded nor found in the cache. Where they are
# there, nothing is asked: that takes a third of a second.
if libc=$(gcc -print-file-name=libc.a 2>/dev/null) && [ "$libc" != libc.a ] && pkg-config --exists libseccomp 2>/dev/null; then
    exit 0
fi
missing=$("$venv/bin/session-affinity" cluster build --missing-packages)
# shellcheck disable=SC2086 # a list of package names
[ -z "$missing" ] || install_packages $missing
