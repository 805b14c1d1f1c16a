"""The RPCs of KeyService, one method each, and the keys for auth itself."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from focusmesh.auth.v1 import key_service_pb2 as pb
from focusmesh.auth.v1 import key_service_pb2_grpc as rpc

from mesh.rpc.call import Context
from mesh.rpc.identity import KeySource
from services.auth import wire
from services.auth.rules.tokens import Signer


class KeyHandlers(rpc.KeyServiceServicer):
    """The public keys; they change only with a restart."""

    def __init__(self, signer: Signer) -> None:
        self._answer = pb.GetJwksResponse(keys=[wire.key_to_pb(key) for key in signer.published()])

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return self._answer


class OwnKeys(KeySource):
    """The keys that auth itself verifies with: its own, so it asks nobody."""

    def __init__(self, signer: Signer) -> None:
        self._keys = signer.verifying

    def knows(self, kid: str) -> bool:
        """Whether it is one of them."""
        return kid in self._keys

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key with this id, or None."""
        return self._keys.get(kid)
