"""The todo service as one user calls it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import psycopg
from focusmesh.todo.v1 import task_instance_service_pb2 as instance_pb
from focusmesh.todo.v1 import task_instance_service_pb2_grpc as instance_rpc
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_planning_service_pb2 as planning_pb
from focusmesh.todo.v1 import task_planning_service_pb2_grpc as planning_rpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from mesh.runtime.ids import new_id
from mesh.runtime.signing_keys import private_key
from tests.support.tokens import Signer, service_token

TaskBuilder = Callable[..., Awaitable[task_pb2.Task]]


class Todo:
    """TaskService as one user calls it: `await todo.CreateTask(title="x")`."""

    def __init__(self, channel: grpc.aio.Channel, signer: Signer, user_id: str = "") -> None:
        self._channel, self._signer = channel, signer
        self._stub = rpc.TaskServiceStub(channel)
        self.user_id = user_id or new_id()
        self._metadata = (("authorization", f"Bearer {signer.token(sub=self.user_id)}"),)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        request = getattr(pb, f"{method}Request")

        async def call(*, timeout: float = 5.0, **fields: Any) -> Any:
            return await self.send(request(**fields), timeout=timeout)

        return call

    async def send(self, request: Message, *, timeout: float = 5.0) -> Any:
        """Calls the RPC that the request belongs to."""
        return await self.open(request, {}, timeout=timeout)

    def open(self, request: Message, headers: Mapping[str, str], *, timeout: float = 5.0) -> Any:
        """The same with further headers, before its response."""
        method = getattr(self._stub, type(request).__name__.removesuffix("Request"))
        return method(request, metadata=(*self._metadata, *headers.items()), timeout=timeout)

    def another_user(self) -> "Todo":
        """The same service, called by somebody else."""
        return Todo(self._channel, self._signer)


class Scheduler:
    """TaskInstanceService as recurrence calls it about one user: `await scheduler.put(task, "2026-03-29")`."""

    def __init__(self, channel: grpc.aio.Channel, key_file: Path, user_id: str) -> None:
        self._stub = instance_rpc.TaskInstanceServiceStub(channel)
        self._key = private_key(key_file.read_bytes())
        self.user_id = user_id

    async def apply(self, series_id: str, slot: str, **change: Any) -> instance_pb.ApplyInstanceResponse:
        """One change of the instance of a slot."""
        fields: dict[str, Any] = {"user_id": self.user_id, "series_id": series_id, "slot": slot} | change
        metadata = (("authorization", f"Bearer {service_token('recurrence', 'todo', self._key)}"),)
        response: instance_pb.ApplyInstanceResponse = await self._stub.ApplyInstance(
            instance_pb.ApplyInstanceRequest(**fields), metadata=metadata, timeout=5
        )
        return response

    async def put(
        self, source: task_pb2.Task, slot: str, request_id: str = "", **changes: Any
    ) -> instance_pb.ApplyInstanceResponse:
        """Puts the instance of a slot, of the series of another instance."""
        put = instance_pb.PutInstance(source_task_id=source.id, changes=changes_of(**changes))
        return await self.apply(source.series_id, slot, put=put, request_id=request_id)

    async def revise(
        self, task: task_pb2.Task, *, series_id: str = "", slot: str = "", **changes: Any
    ) -> instance_pb.ApplyInstanceResponse:
        """Revises an instance as it was, at another slot of another series when these are given."""
        revise = instance_pb.ReviseInstance(
            task_id=task.id, changes=changes_of(**changes), source_series_id=task.series_id
        )
        return await self.apply(series_id or task.series_id, slot or task.slot, revise=revise)

    async def reopen(self, task: task_pb2.Task) -> instance_pb.ApplyInstanceResponse:
        """Makes a complete instance pending."""
        return await self.apply(task.series_id, task.slot, reopen=instance_pb.ReopenInstance(task_id=task.id))

    async def withdraw(self, series_id: str, slot: str) -> instance_pb.ApplyInstanceResponse:
        """Withdraws the instance of a slot."""
        return await self.apply(series_id, slot, withdraw=instance_pb.WithdrawInstance())


class Calendar:
    """TaskPlanningService as calendar calls it about one user: `await calendar.ListDueTasks()`."""

    def __init__(self, channel: grpc.aio.Channel, key_file: Path, user_id: str) -> None:
        self._stub = planning_rpc.TaskPlanningServiceStub(channel)
        self._key = private_key(key_file.read_bytes())
        self.user_id = user_id

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        request = getattr(planning_pb, f"{method}Request")

        async def call(**fields: Any) -> Any:
            metadata = (("authorization", f"Bearer {service_token('calendar', 'todo', self._key)}"),)
            asked = request(**({"user_id": self.user_id} | fields))
            return await getattr(self._stub, method)(asked, metadata=metadata, timeout=5)

        return call


def changes_of(**fields: Any) -> instance_pb.InstanceChanges:
    """Changes with the mask that names them; None clears."""
    given = {name: value for name, value in fields.items() if value is not None}
    return instance_pb.InstanceChanges(update_mask=FieldMask(paths=list(fields)), **given)


def events(url: str, task_id: str) -> list[tuple[str, int]]:
    """Type and version of the events of a task that wait in the outbox, in order."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT convert_from(value, 'UTF8')::jsonb ->> 'type', version FROM outbox"
            " WHERE convert_from(value, 'UTF8')::jsonb ->> 'subject' = %s ORDER BY seq",
            (task_id,),
        )
        return [(kind, version) for kind, version in rows]
