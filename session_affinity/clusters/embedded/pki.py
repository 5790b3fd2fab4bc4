"""The certificate authority of a cluster, its certificates, and kubeconfigs with them.

Keys are elliptic-curve keys (P-256). Certificates are valid for a year, so that a kept cluster does not outlive them.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LIFETIME = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Credential:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path


def write_private(file: Path, content: bytes) -> None:
    """Write a file with mode 0600; the mode is set at creation, before any content is in it."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


class Authority:
    """The certificate authority of one cluster; writes certificates and keys to ``directory``."""

    def __init__(self, directory: Path, common_name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = (
            self._builder(_name(common_name), self._key.public_key(), issuer=_name(common_name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                    key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        self.credential = self._store("ca", self._certificate, self._key)

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, issuer: x509.Name
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + _LIFETIME)
        )

    def _store(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
        credential = Credential(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        credential.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private(credential.key, _pem(key))
        return credential

    def issue(
        self, file: str, common_name: str, organization: str = "", *, names: Iterable[str] = (), server: bool = False
    ) -> Credential:
        """Issue a client certificate; with ``server`` also for serving at ``names`` (addresses or host names)."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._builder(_name(common_name, organization), key.public_key(), self._certificate.subject)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # Python 3.13 and later refuse certificates without it (ssl.VERIFY_X509_STRICT, RFC 5280 section 4.2.1.1).
            .add_extension(issuer, critical=False)
        )
        alternatives = [_alternative(name) for name in names]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return self._store(file, builder.sign(self._key, hashes.SHA256()), key)

    def key_pair(self, file: str) -> Credential:
        """Create a key pair without certificate, for service-account tokens; ``certificate`` is the public key."""
        key = ec.generate_private_key(ec.SECP256R1())
        pair = Credential(self._directory / f"{file}.pub", self._directory / f"{file}.key")
        pair.certificate.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        write_private(pair.key, _pem(key))
        return pair

    def kubeconfig(self, file: Path, cluster: str, server: str, user: str, credential: Credential) -> Path:
        """Write a kubeconfig (mode 0600) with embedded certificates and key, so that it can be copied."""

        def data(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": data(self.credential.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": data(credential.certificate),
                        "client-key-data": data(credential.key),
                    },
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        }
        write_private(file, yaml.safe_dump(config, sort_keys=False).encode())
        return file


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
