"""The cluster's own certificate authority, certificates and kubeconfigs.

Python 3.13 verifies strictly: the authority needs a key usage extension, and
what it signs an authority key identifier.
"""

from __future__ import annotations

import base64
import datetime
import json
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

_YEARS = datetime.timedelta(days=3650)
_SKEW = datetime.timedelta(hours=1)


class Authority:
    """A certificate authority kept in a folder; whatever exists there is kept."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.certificate_file = folder / "ca.crt"
        if not self.certificate_file.exists():
            self._create()
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        self._key = serialization.load_pem_private_key(
            (folder / "ca.key").read_bytes(), password=None
        )

    def issue(
        self,
        name: str,
        *,
        common_name: str,
        organization: str = "",
        hosts: Iterable[str] = (),
    ) -> tuple[Path, Path]:
        """Return certificate and key files; with hosts it serves, without it is a client's."""
        certificate_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        if certificate_file.exists():
            return certificate_file, key_file
        names = [_alternative_name(host) for host in hosts]
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_name(common_name, organization), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        _write_key(key_file, key)
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_file, key_file

    def kubeconfig(
        self, file: Path, *, server: str, common_name: str, organization: str = ""
    ) -> Path:
        """Write a kubeconfig that holds all it needs, with a new client certificate."""
        if file.exists():
            return file
        certificate, key = self.issue(
            f"client-{file.stem}", common_name=common_name, organization=organization
        )
        cluster = {"server": server, "certificate-authority-data": _encoded(self.certificate_file)}
        user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        described = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": common_name, "user": user}],
            "contexts": [
                {"name": "default", "context": {"cluster": "cluster", "user": common_name}}
            ],
            "current-context": "default",
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(described, indent=2))
        return file

    def service_account_keys(self) -> tuple[Path, Path]:
        """Return the private and public key files that sign and verify service account tokens."""
        private, public = self._folder / "service-account.key", self._folder / "service-account.pub"
        if not public.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            _write_key(private, key)
            public.write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
        return private, public

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("consul-nginx-test-cluster", "")
        certificate = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                _usage(digital_signature=True, key_cert_sign=True, crl_sign=True), critical=True
            )
            .sign(key, hashes.SHA256())
        )
        _write_key(self._folder / "ca.key", key)
        self.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
