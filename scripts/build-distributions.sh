#!/usr/bin/env bash
# Builds source distribution and wheel twice, and keeps them when both builds have the same bytes.
# Usage: build-distributions.sh VENV DIRECTORY. In a workflow for a tag, the tag has to be that of the version.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(cd "$1" && pwd)/bin/python
directory=$2
version=$("$python" -c 'import session_affinity; print(session_affinity.__version__)')
if [ "${GITHUB_REF_TYPE:-}" = tag ] && [ "$GITHUB_REF_NAME" != "v$version" ]; then
    printf 'the tag is %s and the version %s\n  next: tag v%s, or change session_affinity/__init__.py\n' \
        "$GITHUB_REF_NAME" "$version" "$version" >&2
    exit 1
fi

# The time of the commit is that of every file in the archives.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
builds=$(mktemp -d)
trap 'rm -rf "$builds"' EXIT
for build in first second; do
    "$python" -m build --no-isolation --outdir "$builds/$build" . >/dev/null
done
diff -r "$builds/first" "$builds/second"
mkdir -p "$directory"
cp "$builds/first"/* "$directory"
(cd "$directory" && sha256sum ./*)
