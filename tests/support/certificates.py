"""Certificates for tests, of an authority of their own."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from envoy.settings import UpstreamTls


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        """folder: is there."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        self.file = folder / "authority.pem"
        self._sign("authority", self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))

    def issue(self, name: str, host: str) -> UpstreamTls:
        """A certificate for a host, as its holder is given it."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            named: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            named = x509.DNSName(host)
        self._sign(name, key.public_key(), x509.SubjectAlternativeName([named]))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{name}.key").write_bytes(pem)
        return UpstreamTls(self._folder / f"{name}.pem", self._folder / f"{name}.key", self.file)

    def _sign(self, name: str, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> None:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(self._name, _name(name), key, x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(extension, critical=True)
            .sign(self._key, SHA256())
        )
        (self._folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
