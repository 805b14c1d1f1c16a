"""The secrets of a stack: passwords, keys, cluster ID; made once, readable by their owner only."""

import base64
import json
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stack.layout import LOOPBACK, State, private_file, private_folder

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_CERTIFICATE_LIFE = timedelta(days=3650)


class Keys:
    """The secrets of one stack, by name; each is made when first asked for."""

    def __init__(self, state: State) -> None:
        self._folder = state.folder
        self._file = state.folder / "secrets.json"
        self._known: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def password(self, name: str) -> str:
        """A random secret of 192 bits that needs no quoting anywhere."""
        return self._keep(name, secrets.token_hex(24))

    def kafka_cluster_id(self) -> str:
        """16 random bytes in base64url, as the broker requires; may not begin with a dash."""
        return self._keep("kafka-cluster-id", base64.urlsafe_b64encode(b"\x00" + os.urandom(15)).decode().rstrip("="))

    def signing_key(self) -> Path:
        """File of the Ed25519 key that signs access tokens, PKCS8 PEM."""
        return _private_key(self._folder / "signing-key.pem")

    def service_key(self, service: str) -> Path:
        """File of the Ed25519 key that signs a service's calls to others, PKCS8 PEM."""
        return _private_key(self._folder / f"service-{service}.pem")

    def public_service_key(self, service: str) -> Path:
        """File of the public key by which callees identify the service, PEM."""
        public = self._folder / f"service-{service}.pub.pem"
        if not public.exists():
            key = load_pem_private_key(self.service_key(service).read_bytes(), None).public_key()
            _write(
                public, key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
        return public

    def vapid_key(self) -> Path:
        """File of the P-256 key that identifies the stack to push services, PKCS8 PEM."""
        return _private_key(self._folder / "vapid.pem", lambda: ec.generate_private_key(ec.SECP256R1()))

    def mail_certificate(self) -> tuple[Path, Path]:
        """Files of the mail catcher's certificate, which is its own authority, and of its key; PEM."""
        certificate, key = self._folder / "mail.pem", self._folder / "mail.key.pem"
        if not certificate.exists():
            _write_certificate(certificate, key)
        return certificate, key

    def _keep(self, name: str, fresh: str) -> str:
        if name not in self._known:
            self._known[name] = fresh
            _write(self._file, json.dumps(self._known, indent=2).encode())
        return self._known[name]


def _private_key(path: Path, generate: Callable[[], PrivateKey] = Ed25519PrivateKey.generate) -> Path:
    """The file of a private key; made when it is not there."""
    if not path.exists():
        _write(path, _pem(generate()))
    return path


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_certificate(path: Path, key_path: Path) -> None:
    """A self-signed certificate of loopback, for as long as a stack's folder may live."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Focusmesh mail catcher")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _CERTIFICATE_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _pem(key))
    _write(path, certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    private_folder(path.parent)
    unfinished = path.with_suffix(".part")
    private_file(unfinished).write_bytes(content)
    unfinished.replace(path)
