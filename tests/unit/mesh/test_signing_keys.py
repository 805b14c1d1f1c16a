"""Keys that sign tokens."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.runtime.signing_keys import kid_of, private_key, public_key


def test_the_id_of_a_key_is_the_thumbprint_of_the_standard_s_own_example() -> None:
    coordinate = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, appendix A
    raw = base64.urlsafe_b64decode(coordinate + "=")
    assert kid_of(Ed25519PublicKey.from_public_bytes(raw)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_keys_are_read_from_pem_and_only_ed25519_is_taken() -> None:
    key = Ed25519PrivateKey.generate()
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert kid_of(private_key(key.private_bytes(*plain)).public_key()) == kid_of(key.public_key())
    assert kid_of(public_key(key.public_key().public_bytes(*public))) == kid_of(key.public_key())
    other = generate_private_key(SECP256R1())
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        private_key(other.private_bytes(*plain))
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        public_key(other.public_key().public_bytes(*public))
