"""REST and gRPC clients of the gateway, and the operations of users."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, cast

import grpc
import orjson
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import code_pb2

from harness.http import Pool, Response
from prove.checker import SUCCESS

CALL_SECONDS = 10.0
"""The client's own time-out; every deadline of the contract is shorter."""
CREATE, UPDATE, START, COMPLETE, LIST = "create", "update", "start", "complete", "list"
_PAGE = 20


class Operation(NamedTuple):
    """What a user requests."""

    kind: str
    request_id: str = ""
    task_id: str = ""
    text: str = ""
    """New title or description."""


class Outcome(NamedTuple):
    """The result of an operation."""

    code: str
    """Name of the gRPC status."""
    task_id: str = ""
    version: int = 0


class Caller(Protocol):
    """A client of one protocol."""

    way: str

    async def call(self, token: str, operation: Operation) -> Outcome:
        """Performs an operation; never raises because of a response."""

    async def close(self) -> None:
        """Ends its connections."""


class RestCaller:
    """JSON by HTTP/1.1."""

    way = "rest"

    def __init__(self, target: str) -> None:
        """target: host:port of the gateway."""
        self._http = Pool(target)

    async def call(self, token: str, operation: Operation) -> Outcome:
        """Performs an operation."""
        verb, path, body = _rest(operation)
        try:
            response = await self._http.request(verb, path, body, token, CALL_SECONDS)
        except OSError as error:
            return Outcome(f"{type(error).__name__}: {error}")
        return _from_json(response, lists=operation.kind == LIST)

    async def close(self) -> None:
        """Ends its connections."""
        self._http.close()


class GrpcCaller:
    """Native gRPC over one connection."""

    way = "grpc"

    def __init__(self, target: str) -> None:
        """target: host:port of the gateway or of a service."""
        self._channel = grpc.aio.insecure_channel(target)
        stub = rpc.TaskServiceStub(self._channel)
        self._methods = cast(
            dict[str, Callable[..., Awaitable[Any]]],
            {
                CREATE: stub.CreateTask,
                UPDATE: stub.UpdateTask,
                START: stub.StartTask,
                COMPLETE: stub.CompleteTask,
                LIST: stub.ListTasks,
            },
        )

    async def call(self, token: str, operation: Operation) -> Outcome:
        """Performs an operation."""
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            response = await self._methods[operation.kind](_message(operation), metadata=metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Outcome(error.code().name)
        return Outcome(SUCCESS) if operation.kind == LIST else _from_task(response.task)

    async def close(self) -> None:
        """Ends its connection."""
        await self._channel.close()


class Callers:
    """All clients at once: `async with Callers(target) as callers`."""

    def __init__(self, target: str) -> None:
        """target: host:port of the gateway."""
        self._target = target
        self.every: tuple[Caller, ...] = ()

    async def __aenter__(self) -> Self:
        self.every = (RestCaller(self._target), GrpcCaller(self._target))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(caller.close() for caller in self.every))


def _rest(operation: Operation) -> tuple[str, str, dict[str, str] | None]:
    task = f"/v1/tasks/{operation.task_id}"
    match operation.kind:
        case "create":
            return "POST", "/v1/tasks", {"requestId": operation.request_id, "title": operation.text}
        case "update":
            changes = {"updateMask": "description", "description": operation.text}
            return "PATCH", task, {"requestId": operation.request_id, **changes}
        case "list":
            return "GET", f"/v1/tasks?pageSize={_PAGE}", None
        case verb:
            return "POST", f"{task}:{verb}", {"requestId": operation.request_id}


def _message(operation: Operation) -> Any:
    match operation.kind:
        case "create":
            return pb.CreateTaskRequest(request_id=operation.request_id, title=operation.text)
        case "update":
            mask = FieldMask(paths=["description"])
            return pb.UpdateTaskRequest(
                request_id=operation.request_id, task_id=operation.task_id, update_mask=mask, description=operation.text
            )
        case "start":
            return pb.StartTaskRequest(request_id=operation.request_id, task_id=operation.task_id)
        case "complete":
            return pb.CompleteTaskRequest(request_id=operation.request_id, task_id=operation.task_id)
        case _:
            return pb.ListTasksRequest(page_size=_PAGE)


def _from_json(response: Response, *, lists: bool) -> Outcome:
    """A response of another shape than the documented one has a code of its own."""
    try:
        body = orjson.loads(response.body)
        if response.status != HTTPStatus.OK:
            return Outcome(code_pb2.Code.Name(body["code"]))
        return Outcome(SUCCESS) if lists else Outcome(SUCCESS, body["task"]["id"], _version(body["task"]["etag"]))
    except (ValueError, KeyError, TypeError):
        return Outcome(f"HTTP {response.status} in no known shape")


def _from_task(task: task_pb2.Task) -> Outcome:
    return Outcome(SUCCESS, task.id, _version(task.etag))


def _version(etag: str) -> int:
    return int(etag.removeprefix("v"))
