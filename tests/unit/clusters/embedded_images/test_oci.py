"""The archive is an OCI image layout, and the same content gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from session_affinity.clusters.embedded.images import oci

pytestmark = pytest.mark.unit

ONE = oci.ImageSpec(
    "registry.example/one:1.0",
    "one",
    "the first",
    entries=(oci.File("/one", b"program"), oci.Link("/bin", "usr/bin"), oci.Directory("/tmp", 0o1777)),
    entrypoint=("/one",),
)
TWO = oci.ImageSpec("docker.io/two/two:latest", "two", "the second", entries=(oci.File("/opt/a/two", b"2", 0o644),))


def archive(*specs: oci.ImageSpec) -> bytes:
    file = io.BytesIO()
    oci.write_archive([oci.build(spec, "amd64") for spec in specs], file)
    return file.getvalue()


def members(content: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member) if member.isfile() else None for member in tar}
        return {name: (tar.getmember(name), file.read() if file else b"") for name, file in files.items()}


def layer_of(content: bytes, name: str) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Return the layer of the named image, found from the index as a reader of the layout does."""
    files = members(content)
    index = json.loads(files["index.json"][1])
    [descriptor] = [
        manifest for manifest in index["manifests"] if manifest["annotations"]["io.containerd.image.name"] == name
    ]
    manifest = json.loads(blob(files, descriptor))
    [layer] = manifest["layers"]
    return members(blob(files, layer))


def blob(files: dict[str, tuple[tarfile.TarInfo, bytes]], descriptor: dict[str, Any]) -> bytes:
    content = files["blobs/" + descriptor["digest"].replace(":", "/")][1]
    assert len(content) == descriptor["size"]
    return content


def test_the_same_content_gives_the_same_bytes_in_any_order() -> None:
    reversed_entries = oci.ImageSpec(
        ONE.name, ONE.title, ONE.description, entries=ONE.entries[::-1], entrypoint=ONE.entrypoint
    )
    assert archive(ONE, TWO) == archive(reversed_entries, TWO)


def test_every_blob_is_named_by_its_digest() -> None:
    blobs = {
        name: content for name, (_, content) in members(archive(ONE, TWO)).items() if name.startswith("blobs/sha256/")
    }
    assert len(blobs) == 6
    assert all(hashlib.sha256(content).hexdigest() == name.rpartition("/")[2] for name, content in blobs.items())


def test_the_layout_has_its_version_and_the_index_names_each_image_and_tag() -> None:
    files = members(archive(ONE, TWO))
    assert json.loads(files["oci-layout"][1]) == {"imageLayoutVersion": "1.0.0"}
    annotations = [manifest["annotations"] for manifest in json.loads(files["index.json"][1])["manifests"]]
    assert [entry["io.containerd.image.name"] for entry in annotations] == [ONE.name, TWO.name]
    assert [entry["org.opencontainers.image.ref.name"] for entry in annotations] == ["1.0", "latest"]


def test_the_configuration_has_platform_entrypoint_environment_and_labels() -> None:
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


def test_the_docker_manifest_refers_to_the_same_configuration_and_layer() -> None:
    files = members(archive(ONE, TWO))
    first, second = json.loads(files["manifest.json"][1])
    assert (first["RepoTags"], second["RepoTags"]) == ([ONE.name], [TWO.name])
    assert json.loads(files[first["Config"]][1])["config"]["Entrypoint"] == ["/one"]
    assert "opt/a/two" in members(files[second["Layers"][0]][1])


def test_a_layer_has_parents_first_with_modes_root_as_owner_and_time_zero() -> None:
    layer = layer_of(archive(TWO, ONE), TWO.name)
    assert list(layer) == ["opt", "opt/a", "opt/a/two"]
    assert layer["opt/a/two"][1] == b"2"
    assert [oct(member.mode) for member, _ in layer.values()] == ["0o755", "0o755", "0o644"]
    assert {(member.uid, member.gid, member.mtime) for member, _ in layer.values()} == {(0, 0, 0)}


def test_links_and_special_modes_are_kept() -> None:
    layer = layer_of(archive(ONE), ONE.name)
    assert (layer["bin"][0].issym(), layer["bin"][0].linkname) == (True, "usr/bin")
    assert (layer["tmp"][0].isdir(), oct(layer["tmp"][0].mode)) == (True, "0o1777")


def test_a_path_longer_than_a_plain_tar_header_is_kept() -> None:
    path = "/" + "/".join(["d" * 90] * 4)
    assert path.lstrip("/") in members(oci.layer([oci.File(path, b"deep")]))


def test_two_different_entries_for_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two entries for /a"):
        oci.layer([oci.File("/a", b"1"), oci.File("/a", b"2")])


SUITE = oci.ImageSpec(
    "registry.example/suite:1.0",
    "suite",
    "in two layers",
    entries=(oci.File("/app", b"suite"),),
    base=(oci.File("/lib", b"system"),),
    user="65532:65532",
    environment={"A": "b"},
    more_labels={"org.opencontainers.image.version": "1.0"},
    compressed=True,
)


def of_platforms(*architectures: str) -> tuple[dict[str, str], dict[str, tuple[tarfile.TarInfo, bytes]]]:
    file = io.BytesIO()
    digests = oci.write_archive([oci.build(SUITE, architecture) for architecture in architectures], file)
    return digests, members(file.getvalue())


def test_the_layer_that_changes_less_often_is_below_and_digests_of_content_are_those_before_compression() -> None:
    _, files = of_platforms("amd64")
    [descriptor] = json.loads(files["index.json"][1])["manifests"]
    manifest = json.loads(blob(files, descriptor))
    config = json.loads(blob(files, manifest["config"]))

    layers = [gzip.decompress(blob(files, layer)) for layer in manifest["layers"]]
    assert [list(members(layer)) for layer in layers] == [["lib"], ["app"]]
    assert config["rootfs"]["diff_ids"] == [oci.digest_of(layer) for layer in layers]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Env"][1:] == ["A=b"]
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1.0"


def test_an_image_for_two_platforms_is_an_index_with_both() -> None:
    digests, files = of_platforms("amd64", "arm64")
    [descriptor] = json.loads(files["index.json"][1])["manifests"]
    platforms = json.loads(blob(files, descriptor))["manifests"]

    assert digests == {SUITE.name: descriptor["digest"]}
    assert descriptor["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert descriptor["annotations"]["io.containerd.image.name"] == SUITE.name
    assert [platform["platform"]["architecture"] for platform in platforms] == ["amd64", "arm64"]
    configs = [json.loads(blob(files, json.loads(blob(files, platform))["config"])) for platform in platforms]
    assert [config["architecture"] for config in configs] == ["amd64", "arm64"]
