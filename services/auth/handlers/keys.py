"""The RPCs of KeyService, and the key source of auth itself."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from focusmesh.auth.v1 import key_service_pb2 as pb
from focusmesh.auth.v1 import key_service_pb2_grpc as rpc

from mesh.rpc.call import Context
from mesh.rpc.identity import KeySource
from services.auth import wire
from services.auth.rules.tokens import Signer


class KeyHandlers(rpc.KeyServiceServicer):
    """Publishes the public keys, which change only with a restart."""

    def __init__(self, signer: Signer) -> None:
        self._response = pb.GetJwksResponse(keys=[wire.key_to_pb(key) for key in signer.published()])

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return self._response


class OwnKeys(KeySource):
    """The key source of auth: its own keys, so no call is needed."""

    def __init__(self, signer: Signer) -> None:
        self._keys = signer.verifying

    def knows(self, kid: str) -> bool:
        """Whether auth has the key."""
        return kid in self._keys

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key with this id, or None."""
        return self._keys.get(kid)
