"""Only verified files reach the cache; when a release cannot be used, the component is built."""

from __future__ import annotations

import gzip
import io
import socket
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded.binaries import ensure
from session_affinity.clusters.embedded.binaries.pins import Download
from session_affinity.clusters.embedded.binaries.releases import ReleaseError, Releases, checksum_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    from session_affinity.clusters.embedded.binaries import Binaries, Cache
    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.progress import Progress

pytestmark = pytest.mark.unit

ONE, TWO = "/example.test/v1.2.3/one", "/example.test/v1.2.3/two"


@pytest.fixture
def releases(cache: Cache, progress: Progress, server: Any) -> Releases:
    """The source of official releases, with the local server as mirror."""
    user = {"SESSION_AFFINITY_RELEASES": f"http://127.0.0.1:{server.port}/"}
    return Releases(cache, progress, user, stall_seconds=5.0)


@pytest.fixture
def ensure_tool(
    cache: Cache, progress: Progress, releases: Releases, builder: Any, tool: Component
) -> Callable[[], Binaries]:
    """A function that ensures the component as a run does, from releases first and a build second."""
    return lambda: ensure("1.37.2", progress, cache=cache, sources=(releases, builder), components=(tool,))


def files_of(cache: Cache, name: str) -> list[bytes]:
    """Return the content of every copy of a program in the cache."""
    return [file.read_bytes() for file in cache.root.rglob(name) if file.is_file()]


def test_a_verified_release_is_installed(
    ensure_tool: Callable[[], Binaries], server: Any, builder: Any, content: bytes, tool: Component
) -> None:
    server.publish(ONE, content)
    server.publish(TWO, content)

    binaries = ensure_tool()

    assert binaries["one"].read_bytes() == content
    assert binaries["two"].stat().st_mode & 0o777 == 0o755
    assert binaries.origins == {
        "tool": f"1.2.3, official release from the mirror http://127.0.0.1:{server.port} ({tool.downloads[0].url})"
    }
    assert builder.components == []


def half(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer that announces the whole content, sends half of it and closes the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])

    return answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("checksum", "the published one is 0000", id="wrong-checksum"),
        pytest.param("truncated", "of 35000 bytes", id="truncated"),
        pytest.param("stalled", "stalled: no data for 0.1 s", id="stalled"),
        pytest.param("missing", "HTTP 404", id="missing"),
        pytest.param("no checksum", "HTTP 404", id="checksum-missing"),
        pytest.param("not a checksum", "contains no SHA-256 of one", id="checksum-is-something-else"),
        pytest.param("not a program", "is not a Linux program", id="verified-but-no-program"),
    ],
)
def test_a_bad_release_is_not_kept_and_the_component_is_built(
    *,
    ensure_tool: Callable[[], Binaries],
    releases: Releases,
    server: Any,
    builder: Any,
    cache: Cache,
    progress_output: io.StringIO,
    fault: str,
    reason: str,
) -> None:
    bad = b"bad" * 11666 + b"!!"
    server.publish(ONE, bad, checksum="0" * 64 if fault == "checksum" else "")
    server.publish(TWO, bad)
    if fault == "missing":
        del server.files[ONE]
    if fault == "no checksum":
        del server.files[f"{ONE}.sha256"]
    if fault == "not a checksum":
        server.files[f"{ONE}.sha256"] = b"<html>Please log in</html>"
    if fault == "truncated":
        server.files[ONE] = half(bad)
    if fault == "stalled":
        releases._stall_seconds = 0.1
        server.files[ONE] = lambda handler: (half(bad)(handler), handler.wfile.flush(), server.ended.wait(5))

    binaries = ensure_tool()

    assert builder.components == ["tool"]
    assert binaries.origins == {"tool": "1.2.3, built with go1.0 (a test)"}
    assert reason.replace("35000", str(len(bad))) in progress_output.getvalue()
    assert [content for content in files_of(cache, "*") if b"badbad" in content] == []


def test_an_interrupted_download_resumes_with_the_unfinished_file(
    *, cache: Cache, progress: Progress, releases: Releases, server: Any, content: bytes, tool: Component
) -> None:
    server.publish(ONE, content)
    with pytest.raises(ReleaseError, match=r"two\.sha256: HTTP 404"):
        ensure("1.37.2", progress, cache=cache, sources=(releases,), components=(tool,))
    server.publish(TWO, content)

    ensure("1.37.2", progress, cache=cache, sources=(releases,), components=(tool,))

    assert server.requests.count(ONE) == 1


def test_unreachable_releases_are_reported_once_and_not_tried_again(
    cache: Cache, progress: Progress, builder: Any, progress_output: io.StringIO, tool: Component
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    releases = Releases(cache, progress, {"SESSION_AFFINITY_RELEASES": f"http://127.0.0.1:{port}"})
    other = replace(tool, name="other")
    attempts: list[str] = []
    probe = releases._probe

    def counted(url: str) -> None:
        attempts.append(url)
        probe(url)

    releases._probe = counted  # type: ignore[method-assign]

    ensure("1.37.2", progress, cache=cache, sources=(releases, builder), components=(tool, other))

    assert builder.components == ["tool", "other"]
    assert len(attempts) == 1
    assert progress_output.getvalue().count("the official releases cannot be reached") == 1


def test_releases_refused_by_a_proxy_count_as_unreachable(
    ensure_tool: Callable[[], Binaries], server: Any, progress_output: io.StringIO
) -> None:
    server.files[f"{ONE}.sha256"] = lambda handler: handler.send_error(403)

    ensure_tool()

    assert (
        "the official releases cannot be reached from here (127.0.0.1: HTTP 403 Forbidden)"
        in progress_output.getvalue()
    )


def test_programs_are_extracted_from_an_archive(
    *, cache: Cache, progress: Progress, releases: Releases, server: Any, content: bytes, tool: Component
) -> None:
    url = "https://example.test/tool.tgz"
    packed = replace(tool, downloads=(Download(url, f"{url}.sha256", (("one", "bin/one"), ("two", "two"))),))
    server.publish("/example.test/tool.tgz", archive({"./bin/one": content, "two": content, "../three": b"no"}))

    binaries = ensure("1.37.2", progress, cache=cache, sources=(releases,), components=(packed,))

    assert binaries["one"].read_bytes() == binaries["two"].read_bytes() == content
    assert files_of(cache, "three") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(gzip.compress(b"no archive"), "cannot unpack", id="no-archive"),
        pytest.param(None, "does not contain bin/one", id="lacks-one"),
    ],
)
def test_an_invalid_or_incomplete_archive_is_refused(
    *, cache: Cache, progress: Progress, releases: Releases, server: Any, tool: Component, content: bytes, reason: str
) -> None:
    url = "https://example.test/tool.tgz"
    packed = replace(tool, downloads=(Download(url, f"{url}.sha256", (("one", "bin/one"),)),))
    server.publish("/example.test/tool.tgz", content or archive({"bin/two": b""}))

    with pytest.raises(ReleaseError, match=reason):
        ensure("1.37.2", progress, cache=cache, sources=(releases,), components=(packed,))


def archive(members: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as target:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_checksums_are_read_in_every_published_format() -> None:
    expected, other = "a" * 64, "b" * 64

    assert checksum_of("kubelet", expected) == expected
    assert checksum_of("runc.amd64", f"{other} *runc.arm64\n{expected} *runc.amd64\n") == expected
    assert checksum_of("x.tgz", f"{other}  ./dist/y.tgz\n{expected.upper()}  ./dist/x.tgz\n") == expected
    assert checksum_of("x.tgz", f"{other}  y.tgz\n") == ""
    assert checksum_of("x.tgz", "a" * 128) == ""
