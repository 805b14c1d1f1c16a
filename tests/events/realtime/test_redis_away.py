"""While Redis is away the service is not serving, opens no stream, and recovers by itself."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.exceptions import InvalidStatus

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from stack.stack import Stack
from tests.support.realtime_clients import GRPC, WEBSOCKET, Target
from tests.support.realtime_replicas import Replica
from tests.support.task_events import a_task_event, publish
from tests.support.tokens import Signer


async def test_the_service_is_not_serving_opens_nothing_and_recovers(
    replica: Replica, producer: Producer, signer: Signer, own_redis: Stack
) -> None:
    target, user = await replica(), new_id()
    token = signer.token(sub=user)
    async with GRPC.open(target, token) as open_stream:
        await open_stream.frame()
        await asyncio.to_thread(own_redis.supervisor.stop, ["valkey"])
        try:
            await until(lambda: _says(target, health_pb2.HealthCheckResponse.NOT_SERVING), "it says NOT_SERVING")
            async with GRPC.open(target, token) as refused:
                assert (await refused.end()).code is grpc.StatusCode.UNAVAILABLE
            await until(lambda: _refuses_handshakes(target, token), "handshakes are rejected with 503")
        finally:
            await asyncio.to_thread(own_redis.supervisor.start_program, "valkey")
        await until(lambda: _says(target, health_pb2.HealthCheckResponse.SERVING), "it says SERVING again")
        event = a_task_event(user)
        async with WEBSOCKET.open(target, token) as new_stream:
            await new_stream.frame()
            await publish(producer, "task-updates", [event])
            assert await new_stream.events(1) == [event.id]
        assert await open_stream.events(1) == [event.id]


async def _refuses_handshakes(target: Target, token: str) -> bool:
    """False while the replica still trusts what it knows of ended sessions: the stream is opened and ends at once."""
    try:
        async with WEBSOCKET.open(target, token) as refused:
            assert (await refused.end()).code == 1012
    except InvalidStatus as rejected:
        return rejected.response.status_code == 503
    return False


async def _says(target: Target, state: int) -> bool:
    async with grpc.aio.insecure_channel(target.grpc) as channel:
        response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return response.status == state
