"""A second user's calls while the sessions of a first one are as large as the rules allow."""

import asyncio

import grpc
from focusmesh.realtime.v1 import realtime_service_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.asyncio.client import connect

from mesh.runtime.ids import new_id
from services.realtime.consumers import ChangePublisher
from tests.support.neighbours import disturbance
from tests.support.realtime_clients import Target
from tests.support.realtime_replicas import an_event
from tests.support.session_events import largest_session

_EVENTS, _DEVICES = 20, 5
_SUBSCRIBE = "/focusmesh.realtime.v1.RealtimeService/Subscribe"


async def test_the_largest_sessions_of_one_user_do_not_disturb_another(
    target: Target, token: str, user: str, broadcast: ChangePublisher
) -> None:
    """Devices do not look into what they receive: they share the event loop with the service."""
    session, subject = largest_session(), new_id()
    opened = asyncio.Semaphore(0)
    await broadcast.apply([an_event(new_id())])  # opens the connection of this test
    metadata = [("authorization", f"Bearer {token}")]

    async def read_websocket() -> None:
        async with connect(
            f"ws://{target.websocket}/v1/realtime", additional_headers=metadata, max_size=None, compression=None
        ) as device:
            await device.recv(decode=False)
            opened.release()
            for _ in range(_EVENTS):
                await device.recv(decode=False)

    async with grpc.aio.insecure_channel(target.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def read_grpc() -> None:
            call = channel.unary_stream(_SUBSCRIBE, pb.SubscribeRequest.SerializeToString)
            stream = call(pb.SubscribeRequest(), metadata=metadata)
            await stream.read()
            opened.release()
            for _ in range(_EVENTS):
                await stream.read()

        async def publish() -> None:
            async with asyncio.TaskGroup() as devices:
                for _ in range(_DEVICES):
                    devices.create_task(read_websocket())
                    devices.create_task(read_grpc())
                for _ in range(2 * _DEVICES):  # one that opens its stream later waits for events that came before
                    await opened.acquire()
                for number in range(1, 1 + _EVENTS):  # what Kafka delivers at once is as large as two
                    await broadcast.apply([an_event(user, subject=subject, version=number, **session)])

        (await disturbance(publish(), lambda: health.Check(health_pb2.HealthCheckRequest()))).check()
