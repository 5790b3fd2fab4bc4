#!/usr/bin/env bash
# Installs the suite for the action into an environment of its own, and names that in the step's outputs.
# From the environment: PYTHON, a Python; VERSION, a released version, latest, or empty for the action's own checkout;
# RUNNER_TEMP and GITHUB_OUTPUT, as GitHub sets them.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
environment=$RUNNER_TEMP/session-affinity/environment

case $VERSION in
    "") package=$checkout ;;
    latest) package=session-affinity-conformance ;;
    *[!0-9A-Za-z.+!]*)
        printf '::error title=Session affinity::the input version is no version: write it as 1.2.3\n'
        exit 4
        ;;
    *) package=session-affinity-conformance==$VERSION ;;
esac

"$PYTHON" -m venv "$environment"
"$environment/bin/python" -m pip install --disable-pip-version-check --quiet "$package"
"$environment/bin/session-affinity" --version
printf 'python=%s\n' "$environment/bin/python" >>"$GITHUB_OUTPUT"
