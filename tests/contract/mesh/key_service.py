"""A fake of the auth service's KeyService."""

import base64

from focusmesh.auth.v1 import key_service_pb2 as pb
from focusmesh.auth.v1 import key_service_pb2_grpc as rpc

from tests.support.tokens import Signer


class Auth(rpc.KeyServiceServicer):
    """Publishes the keys of signers."""

    def __init__(self) -> None:
        self.signers: list[Signer] = []
        self.asked = 0

    async def GetJwks(self, request: pb.GetJwksRequest, context: object) -> pb.GetJwksResponse:
        self.asked += 1
        return pb.GetJwksResponse(
            keys=[
                pb.JsonWebKey(kid=signer.kid, crv="Ed25519", x=base64.urlsafe_b64encode(signer.public_bytes).decode())
                for signer in self.signers
            ]
        )
