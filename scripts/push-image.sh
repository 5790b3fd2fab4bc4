#!/usr/bin/env bash
# Pushes an image archive with all its platforms to a repository, tagged with the version of the suite.
# Usage: push-image.sh ARCHIVE REPOSITORY, with TOKEN for GitHub's registry. Writes digest=sha256:... to GITHUB_OUTPUT.
set -euo pipefail
archive=$1 repository=$2
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$(dirname "$0")/../session_affinity/__init__.py")
digest_file=$(mktemp)
trap 'rm -f "$digest_file"' EXIT
# The password is read from standard input: arguments are seen by every process.
skopeo login --username "${GITHUB_ACTOR:?}" --password-stdin "${repository%%/*}" <<<"${TOKEN:?}"
skopeo copy --all --preserve-digests --digestfile "$digest_file" "oci-archive:$archive" "docker://$repository:v$version"
echo "digest=$(cat "$digest_file")" >>"${GITHUB_OUTPUT:?}"
