"""Certificates: their names and usages, their issuer, and the modes of their keys."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from session_affinity.clusters.embedded.pki import Authority

if TYPE_CHECKING:
    from pathlib import Path


def _read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_a_server_certificate_has_its_addresses_and_is_issued_by_the_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    issued = authority.issue("server", "me", "group", names=("10.0.0.1", "name"), server=True)

    certificate = _read(issued.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    certificate.verify_directly_issued_by(_read(authority.credential.certificate))

    assert certificate.subject.rfc4514_string() == "CN=me,O=group"
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["name"]


def test_a_certificate_names_the_key_of_its_issuer(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    issued = _read(authority.issue("server", "me", server=True).certificate)
    own = _read(authority.credential.certificate).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value

    of_issuer = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert of_issuer.key_identifier == own.digest


def test_a_client_certificate_is_not_valid_for_a_server(tmp_path: Path) -> None:
    issued = Authority(tmp_path, "test").issue("client", "me")

    usage = _read(issued.certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_and_kubeconfigs_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki", "test")
    issued = authority.issue("client", "me")
    pair = authority.key_pair("tokens")
    kubeconfig = authority.kubeconfig(tmp_path / "kubeconfig", "c", "https://127.0.0.1:1", "me", issued)

    private = (issued.key, pair.key, authority.credential.key, kubeconfig)
    assert [file.stat().st_mode & 0o777 for file in private] == [0o600] * 4
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


def test_a_kubeconfig_contains_its_certificates_and_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "test")
    file = authority.kubeconfig(tmp_path / "kubeconfig", "c", "https://127.0.0.1:1", "me", authority.issue("x", "me"))

    config = yaml.safe_load(file.read_text())

    assert config["current-context"] == "c"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert "insecure-skip-tls-verify" not in file.read_text()
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
