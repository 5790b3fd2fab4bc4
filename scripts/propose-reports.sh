#!/usr/bin/env bash
# Opens a pull request with the reports of a night that say something new, or updates the one that is open.
# Usage: propose-reports.sh VENV ARTIFACTS, the directory with the downloaded artifacts.
# Needs git, gh and GH_TOKEN; what it did is on the page of the run.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 artifacts=$2
branch=dataplane-reports
title="Reports of other dataplanes"

body=$(mktemp)
trap 'rm -f "$body"' EXIT
"$venv/bin/python" -m ci.dataplanes collect "$artifacts" >"$body"
cat "$body" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
[ -n "$(git status --porcelain -- reports)" ] || exit 0
"$venv/bin/python" -m ci.implementations_page
printf '\nGitHub starts no checks on a pull request that a workflow opened: close and reopen it to start them.\n' >>"$body"

gh auth setup-git
git switch --quiet --force-create "$branch"
git add -- reports docs/implementations.md
git -c user.name="github-actions[bot]" -c user.email="41898282+github-actions[bot]@users.noreply.github.com" \
    commit --quiet --message "$title"
git push --quiet --force origin "$branch"
if [ -n "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ]; then
    gh pr edit "$branch" --title "$title" --body-file "$body"
else
    gh pr create --head "$branch" --title "$title" --body-file "$body"
fi
