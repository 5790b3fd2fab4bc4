#!/usr/bin/env bash
# Installs what a report needs, where it is missing: Node from PyPI in the Python environment, and Allure 3 from npm in
# ci/report/node_modules. Prints nothing and returns at once when both are there. Usage: report-tools.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(cd "$1" && pwd)

if ! cmp -s requirements-report.lock "$venv/requirements-report.lock"; then
    echo "installing Node in $1" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-report.lock
    cp requirements-report.lock "$venv/requirements-report.lock"
fi
# A copy of the lock marks what node_modules was made from, as in setup.sh. npm gets a temporary cache: its own one in
# the home directory would stay.
if ! cmp -s ci/report/package-lock.json ci/report/node_modules/package-lock.json; then
    echo "installing Allure in ci/report/node_modules" >&2
    cache=$(mktemp -d)
    trap 'rm -rf "$cache"' EXIT
    PATH="$venv/bin:$PATH" npm ci --prefix ci/report --cache "$cache" --ignore-scripts --no-audit --no-fund \
        --no-update-notifier --loglevel error >/dev/null
    cp ci/report/package-lock.json ci/report/node_modules/package-lock.json
fi
