"""The todo service in this process, ready or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.app import App
from mesh.database.pool import Database
from mesh.database.quota import Quota
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.errors import DependencyUnavailable
from services.todo.errors import TooManyTasks
from services.todo.handlers import TaskHandlers
from tests.support.serving import SignerKeys, settings_for
from tests.support.tokens import Signer


@dataclass
class Todo:
    """A todo service as a caller and the gateway see it, ready or not."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]

    @property
    def tasks(self) -> rpc.TaskServiceStub:
        return rpc.TaskServiceStub(self.channel)

    async def create(self) -> pb.CreateTaskResponse:
        response: pb.CreateTaskResponse = await self.tasks.CreateTask(
            pb.CreateTaskRequest(title="x"), metadata=self.metadata, timeout=5
        )
        return response

    async def serving(self) -> bool:
        """The health status of the server and of the service, which are the same."""
        health = health_pb2_grpc.HealthStub(self.channel)
        states = {
            (await health.Check(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True, timeout=30)).status
            for name in ("", "focusmesh.todo.v1.TaskService")
        }
        return states == {health_pb2.HealthCheckResponse.SERVING}

    async def not_serving(self) -> bool:
        return not await self.serving()


@dataclass
class Running(Todo):
    """The same in this process."""

    database: Database
    stop: asyncio.Event
    served: "asyncio.Task[None]"


async def nowhere(user_id: str) -> str:
    """Nobody is asked: no task of these tests recurs."""
    raise DependencyUnavailable("auth")


@asynccontextmanager
async def running(
    signer: Signer, database_url: str, redis_url: str, keys: KeySource | None = None, **changes: object
) -> AsyncIterator[Running]:
    settings = settings_for(database_url=database_url, redis_url=redis_url, **changes)
    platform = Platform("todo", settings, keys or SignerKeys(signer))
    db, quota = platform.database(), Quota("tasks", 100_000, TooManyTasks)
    registered = [(rpc.add_TaskServiceServicer_to_server, TaskHandlers(db, platform.pages, quota, nowhere, clock.now))]
    app = App("todo", settings, platform.tokens, registered, [platform.revocations, platform.keys, db], db)
    stop = asyncio.Event()
    served = asyncio.create_task(app.serve(stop))
    try:
        async with grpc.aio.insecure_channel(settings.listen) as channel:
            yield Running(channel, (("authorization", f"Bearer {signer.token()}"),), db, stop, served)
    finally:
        stop.set()
        await served
