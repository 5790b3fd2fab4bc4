"""The pages of kube-proxy about its settings, and the command that reads them on a node.

Source of the address: the defaults of KubeProxyConfiguration; ``/configz`` and ``/metrics`` are served at the same one
(cmd/kube-proxy/app/server.go, serveMetrics).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from session_affinity.releases import known_release

if TYPE_CHECKING:
    from session_affinity.releases import Release

METRICS_ADDRESS: Final = "127.0.0.1:10249"
"""The default metricsBindAddress of kube-proxy."""
_PAGE: Final = rf"""
page() {{
  if command -v curl >/dev/null 2>&1; then curl -q -sS -f -m "$2" --noproxy '*' "http://{METRICS_ADDRESS}/$1"
  else wget -q -T "$2" -Y off -O - "http://{METRICS_ADDRESS}/$1"; fi
}}
"""
PAGES_ARGV: Final = (
    "sh",
    "-c",
    rf"""{_PAGE}
configuration=$(page configz 2 2>/dev/null) && printf 'configz %s\n' "$configuration"
mode=$(page proxyMode 2 2>/dev/null) && printf 'mode %s\n' "$mode"
page metrics 5 2>/dev/null | grep -m1 '^kubernetes_build_info'
exit 0
""",
)
"""Prints the settings as ``configz JSON``, the mode as ``mode NAME``, and the metric that has the version.

None of them where kube-proxy does not answer.
"""
METRICS_ARGV: Final = (
    "sh",
    "-c",
    rf"""{_PAGE}
metrics=$(page metrics 5) || {{ echo "no answer from http://{METRICS_ADDRESS}/metrics" >&2; exit 1; }}
printf '%s\n' "$metrics" | grep '^kubeproxy_\|^process_start_time_seconds' | grep -v '_bucket{{'
exit 0
""",
)
"""Prints kube-proxy's own metrics without buckets, and its start time; fails where kube-proxy does not answer."""

_VERSION: Final = re.compile(r'^kubernetes_build_info\{.*git_version="(?P<version>[^"]*)"', re.MULTILINE)


def release_in(pages: str) -> Release | None:
    """Return the release in the metric kubernetes_build_info; None where it is not there, or names no release."""
    found = _VERSION.search(pages)
    return known_release(found["version"]) if found else None
