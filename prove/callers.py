"""The two ways in, REST and gRPC, and what users do through them."""

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
"""A client's own patience; every deadline of the contract is shorter."""
CREATE, UPDATE, START, COMPLETE, LIST = "create", "update", "start", "complete", "list"
_PAGE = 20


class Order(NamedTuple):
    """What a user wants done."""

    operation: str
    request_id: str = ""
    task_id: str = ""
    text: str = ""
    """New title or description."""


class Answer(NamedTuple):
    """What came back."""

    code: str
    """Name of the gRPC status."""
    task_id: str = ""
    version: int = 0


class Caller(Protocol):
    """A way in."""

    way: str

    async def call(self, token: str, order: Order) -> Answer:
        """Carries out an order; never raises because of an answer."""

    async def close(self) -> None:
        """Ends its connections."""


class RestCaller:
    """JSON by HTTP/1.1."""

    way = "rest"

    def __init__(self, target: str) -> None:
        """target: host:port of the gateway."""
        self._http = Pool(target)

    async def call(self, token: str, order: Order) -> Answer:
        """Carries out an order."""
        verb, path, body = _rest(order)
        try:
            response = await self._http.request(verb, path, body, token, CALL_SECONDS)
        except OSError as error:
            return Answer(f"{type(error).__name__}: {error}")
        return _from_json(response, lists=order.operation == LIST)

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

    async def call(self, token: str, order: Order) -> Answer:
        """Carries out an order."""
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            response = await self._methods[order.operation](_message(order), metadata=metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name)
        return Answer(SUCCESS) if order.operation == LIST else _from_task(response.task)

    async def close(self) -> None:
        """Ends its connection."""
        await self._channel.close()


class Callers:
    """All ways in at once: `async with Callers(target) as callers`."""

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


def _rest(order: Order) -> tuple[str, str, dict[str, str] | None]:
    task = f"/v1/tasks/{order.task_id}"
    match order.operation:
        case "create":
            return "POST", "/v1/tasks", {"requestId": order.request_id, "title": order.text}
        case "update":
            changes = {"updateMask": "description", "description": order.text}
            return "PATCH", task, {"requestId": order.request_id, **changes}
        case "list":
            return "GET", f"/v1/tasks?pageSize={_PAGE}", None
        case verb:
            return "POST", f"{task}:{verb}", {"requestId": order.request_id}


def _message(order: Order) -> Any:
    match order.operation:
        case "create":
            return pb.CreateTaskRequest(request_id=order.request_id, title=order.text)
        case "update":
            mask = FieldMask(paths=["description"])
            return pb.UpdateTaskRequest(
                request_id=order.request_id, task_id=order.task_id, update_mask=mask, description=order.text
            )
        case "start":
            return pb.StartTaskRequest(request_id=order.request_id, task_id=order.task_id)
        case "complete":
            return pb.CompleteTaskRequest(request_id=order.request_id, task_id=order.task_id)
        case _:
            return pb.ListTasksRequest(page_size=_PAGE)


def _from_json(response: Response, *, lists: bool) -> Answer:
    """An answer of another shape than the documented one has a code of its own."""
    try:
        body = orjson.loads(response.body)
        if response.status != HTTPStatus.OK:
            return Answer(code_pb2.Code.Name(body["code"]))
        return Answer(SUCCESS) if lists else Answer(SUCCESS, body["task"]["id"], _version(body["task"]["etag"]))
    except (ValueError, KeyError, TypeError):
        return Answer(f"HTTP {response.status} in no known shape")


def _from_task(task: task_pb2.Task) -> Answer:
    return Answer(SUCCESS, task.id, _version(task.etag))


def _version(etag: str) -> int:
    return int(etag.removeprefix("v"))
