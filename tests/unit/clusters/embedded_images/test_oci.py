"""The archive is an OCI image layout, and the same bytes for the same content."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from session_affinity.clusters.embedded.images import oci

pytestmark = pytest.mark.unit

ONE = oci.Spec(
    "registry.example/one:1.0",
    "one",
    "the first",
    entries=(oci.File("/one", b"program"), oci.Link("/bin", "usr/bin"), oci.Directory("/tmp", 0o1777)),
    entrypoint=("/one",),
)
TWO = oci.Spec("docker.io/two/two:latest", "two", "the second", entries=(oci.File("/opt/a/two", b"2", 0o644),))


def archive(*specs: oci.Spec) -> bytes:
    file = io.BytesIO()
    oci.write_archive([oci.build(spec, "amd64") for spec in specs], file)
    return file.getvalue()


def members(content: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member) if member.isfile() else None for member in tar}
        return {name: (tar.getmember(name), file.read() if file else b"") for name, file in files.items()}


def layer_of(content: bytes, name: str) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Follow the layout from the index to the layer of the image of that name, as a reader does."""
    files = members(content)
    index = json.loads(files["index.json"][1])
    [chosen] = [one for one in index["manifests"] if one["annotations"]["io.containerd.image.name"] == name]
    manifest = json.loads(blob(files, chosen))
    [layer] = manifest["layers"]
    return members(blob(files, layer))


def blob(files: dict[str, tuple[tarfile.TarInfo, bytes]], descriptor: dict[str, Any]) -> bytes:
    content = files["blobs/" + descriptor["digest"].replace(":", "/")][1]
    assert len(content) == descriptor["size"]
    return content


def test_the_same_content_gives_the_same_bytes_in_whatever_order_it_is_named() -> None:
    turned = oci.Spec(ONE.name, ONE.title, ONE.description, entries=ONE.entries[::-1], entrypoint=ONE.entrypoint)
    assert archive(ONE, TWO) == archive(turned, TWO)


def test_every_blob_has_the_digest_it_is_named_by() -> None:
    blobs = {
        name: content for name, (_, content) in members(archive(ONE, TWO)).items() if name.startswith("blobs/sha256/")
    }
    assert len(blobs) == 6
    assert all(hashlib.sha256(content).hexdigest() == name.rpartition("/")[2] for name, content in blobs.items())


def test_the_layout_says_its_version_and_the_index_names_each_image_and_its_tag() -> None:
    files = members(archive(ONE, TWO))
    assert json.loads(files["oci-layout"][1]) == {"imageLayoutVersion": "1.0.0"}
    named = [one["annotations"] for one in json.loads(files["index.json"][1])["manifests"]]
    assert [one["io.containerd.image.name"] for one in named] == [ONE.name, TWO.name]
    assert [one["org.opencontainers.image.ref.name"] for one in named] == ["1.0", "latest"]


def test_the_configuration_tells_what_runs_where_and_what_the_image_is() -> None:
    files = members(archive(ONE))
    [manifest] = json.loads(files["index.json"][1])["manifests"]
    parts = json.loads(blob(files, manifest))
    config = json.loads(blob(files, parts["config"]))
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["rootfs"]["diff_ids"] == [parts["layers"][0]["digest"]]
    assert config["config"]["Entrypoint"] == ["/one"]
    assert config["config"]["Env"] == [f"PATH={oci.PATH}"]
    assert config["config"]["Labels"]["org.opencontainers.image.description"] == "the first"
    assert "Cmd" not in config["config"]


def test_docker_finds_the_same_configuration_and_layer() -> None:
    files = members(archive(ONE, TWO))
    one, two = json.loads(files["manifest.json"][1])
    assert (one["RepoTags"], two["RepoTags"]) == ([ONE.name], [TWO.name])
    assert json.loads(files[one["Config"]][1])["config"]["Entrypoint"] == ["/one"]
    assert "opt/a/two" in members(files[two["Layers"][0]][1])


def test_a_layer_has_parents_before_children_and_modes_but_no_owner_and_no_time() -> None:
    found = layer_of(archive(TWO, ONE), TWO.name)
    assert list(found) == ["opt", "opt/a", "opt/a/two"]
    assert found["opt/a/two"][1] == b"2"
    assert [oct(member.mode) for member, _ in found.values()] == ["0o755", "0o755", "0o644"]
    assert {(member.uid, member.gid, member.mtime) for member, _ in found.values()} == {(0, 0, 0)}


def test_links_and_special_modes_survive() -> None:
    found = layer_of(archive(ONE), ONE.name)
    assert (found["bin"][0].issym(), found["bin"][0].linkname) == (True, "usr/bin")
    assert (found["tmp"][0].isdir(), oct(found["tmp"][0].mode)) == (True, "0o1777")


def test_a_path_longer_than_a_plain_tar_header_is_kept() -> None:
    path = "/" + "/".join(["d" * 90] * 4)
    assert path.lstrip("/") in members(oci.layer([oci.File(path, b"deep")]))


def test_two_different_entries_for_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two entries for /a"):
        oci.layer([oci.File("/a", b"1"), oci.File("/a", b"2")])
