"""The todo service as one user calls it."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.runtime.ids import new_id
from tests.support.tokens import Signer

TaskBuilder = Callable[..., Awaitable[task_pb2.Task]]


class Todo:
    """TaskService as one user calls it: `await todo.CreateTask(title="x")`."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer) -> None:
        self._channel, self._signer = channel, signer
        self._stub = rpc.TaskServiceStub(channel)
        self.user_id = new_id()
        self._metadata = (("authorization", f"Bearer {signer.token(sub=self.user_id)}"),)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        request = getattr(pb, f"{method}Request")

        async def call(*, timeout: float = 5.0, **fields: Any) -> Any:
            return await self.send(request(**fields), timeout=timeout)

        return call

    async def send(self, request: Message, *, timeout: float = 5.0) -> Any:
        """Calls the RPC that the request belongs to."""
        method = type(request).__name__.removesuffix("Request")
        return await getattr(self._stub, method)(request, metadata=self._metadata, timeout=timeout)

    def another_user(self) -> "Todo":
        """The same service, called by somebody else."""
        return Todo(self._channel, self._signer)
