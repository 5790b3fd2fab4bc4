#!/usr/bin/env bash
# Opens a pull request when there are newer Kubernetes releases or node images, or updates the one that is open.
# Usage: propose-versions.sh VENV [OPTION...], with the options of python -m ci.kubernetes_versions.
# Needs git, gh and GH_TOKEN.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift
branch=kubernetes-versions
title="Newer Kubernetes versions"

body=$(mktemp)
trap 'rm -f "$body"' EXIT
"$venv/bin/python" -m ci.kubernetes_versions --write "$@" >"$body"
[ -s "$body" ] || exit 0
printf '\nGitHub starts no checks on a pull request that a workflow opened: close and reopen it to start them.\n' >>"$body"

gh auth setup-git
git switch --quiet --force-create "$branch"
git -c user.name="github-actions[bot]" -c user.email="41898282+github-actions[bot]@users.noreply.github.com" \
    commit --quiet --message "$title" -- .github/kubernetes-versions.json
git push --quiet --force origin "$branch"
if [ -n "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ]; then
    gh pr edit "$branch" --title "$title" --body-file "$body"
else
    gh pr create --head "$branch" --title "$title" --body-file "$body"
fi
