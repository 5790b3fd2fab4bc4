#!/usr/bin/env bash
# Checks what CI runs: actionlint and zizmor on .github and action.yml, shellcheck on scripts. Usage: lint-workflows.sh VENV
# actionlint has no PyPI package with its program, so it comes the way the cluster's programs do: as the official release,
# or built from its Go module. zizmor runs without the network (--offline).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(cd "$1" && pwd)

actionlint=$("$venv/bin/session-affinity" cluster build --tool actionlint)
"$actionlint" -shellcheck "$venv/bin/shellcheck" -pyflakes ''
"$venv/bin/zizmor" --offline --quiet --pedantic .github action.yml
"$venv/bin/shellcheck" scripts/*.sh ci/action/*.sh ci/dataplanes/install/*.sh .ci/run
