#!/usr/bin/env bash
# What the make targets need, installed where it is missing: packages of the system, and the Python environment.
# Usage: setup.sh PYTHON VENV [python]. Says nothing and takes no time when all is there.
# With "python" only the environment is made: enough for everything that starts no embedded cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 what=${3:-all}

# Commands the embedded cluster runs on its host, and the Debian packages that have them.
declare -A package_of=(
    [iptables]=iptables [ip6tables]=iptables [nft]=nftables [conntrack]=conntrack [ip]=iproute2
    [curl]=curl [nsenter]=util-linux [unshare]=util-linux [mount]=mount [ps]=procps [modprobe]=kmod
)

fail() {
    printf 'error: %s\n  next: %s\n' "$1" "$2" >&2
    exit 1
}

install_packages() {
    local packages
    packages=$(printf '%s\n' "$@" | sort -u | tr '\n' ' ')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "missing on this machine: $packages" "as root: apt-get install $packages (or what your distribution calls them)"
    fi
    echo "installing $packages" >&2
    local log
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

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not Python 3.11 or newer" "install one, or name it: make PYTHON=python3.12 ..."

missing=()
if [ "$what" = all ]; then
    for command in "${!package_of[@]}"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
    done
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"

# The stamp is the lock it was made from: another lock, another environment.
if ! cmp -s requirements.lock "$venv/requirements.lock"; then
    echo "making the Python environment in $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    cp requirements.lock "$venv/requirements.lock"
fi
if ! cmp -s pyproject.toml "$venv/pyproject.toml"; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    # pytest looks for its configuration beside any path that is an argument, be it the value of an option, and would
    # miss this project's where one is named (--kubeconfig FILE): it is told where it is.
    "$venv/bin/python" - "$PWD/pyproject.toml" <<'PYTHON'
import pathlib, shlex, sys, sysconfig
options = f"-c {shlex.quote(sys.argv[1])}"
line = f"import os; os.environ.setdefault('PYTEST_ADDOPTS', {options!r})\n"
pathlib.Path(sysconfig.get_path("purelib"), "session_affinity_pytest.pth").write_text(line)
PYTHON
    cp pyproject.toml "$venv/pyproject.toml"
fi

[ "$what" = all ] || exit 0
# Only a machine that cannot download runc has to compile it, and only then is a compiler asked for.
mapfile -t missing < <("$venv/bin/python" -m session_affinity.clusters.embedded.binaries --missing-packages)
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
