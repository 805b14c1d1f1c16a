"""The audit service as its callers, its consumer and an attacker with every right on the database use it."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from focusmesh.audit.v1 import audit_service_pb2 as pb
from focusmesh.audit.v1 import audit_service_pb2_grpc as rpc

from mesh.runtime.ids import new_id
from tests.support.tokens import Signer

Tamper = Callable[..., Awaitable[None]]


class Log:
    """AuditService as one user calls it: `await log.ListAuditRecords(page_size=2)`."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, **claims: Any) -> None:
        self._channel, self._signer = channel, signer
        self._stub = rpc.AuditServiceStub(channel)
        self.user_id = new_id()
        self._metadata = (("authorization", f"Bearer {signer.token(sub=self.user_id, **claims)}"),)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        request = getattr(pb, f"{method}Request")

        async def call(**fields: Any) -> Any:
            return await getattr(self._stub, method)(request(**fields), metadata=self._metadata, timeout=15)

        return call

    def another_user(self, **claims: Any) -> "Log":
        """The same service, called by somebody else."""
        return Log(self._channel, self._signer, **claims)
