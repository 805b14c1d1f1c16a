"""From the broker to every open stream: whatever breaks, a client that comes back with its cursor misses nothing."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest
from google.protobuf.json_format import MessageToDict

from harness.waiting import until
from mesh.events.outbox import Event
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from stack.stack import Stack
from tests.support.realtime_clients import GRPC, WEBSOCKET, Ended, RealtimeClient, Target
from tests.support.realtime_replicas import Replica
from tests.support.session_events import HISTORY_TOPIC, a_correction, a_session_event
from tests.support.session_events import TOPIC as SESSION_EVENTS
from tests.support.task_events import a_task_event, publish
from tests.support.tokens import Signer

TOPIC = "task-updates"


class Device:
    """A device of a user: reads until it has `count` events, and loses its connection again and again."""

    def __init__(self, targets: Sequence[Target], token: str, client: RealtimeClient, seed: int) -> None:
        self._targets, self._token, self._client = targets, token, client
        self._rng = random.Random(seed)  # noqa: S311 (not a secret)
        self.received: list[str] = []
        self.connections = 0
        self.resyncs = 0
        self.opened = asyncio.Event()

    async def read(self, count: int, *, steady: bool = False) -> None:
        """steady: never closes its connection itself."""
        cursor = ""
        while len(self.received) < count:
            limit = count if steady else self._rng.randrange(1, 30)
            cursor = await self._connect(cursor, min(limit, count - len(self.received)))

    async def _connect(self, cursor: str, most: int) -> str:
        """Reads at most so many events over one connection; returns its cursor."""
        self.connections += 1
        received = 0
        try:
            async with self._client.open(self._rng.choice(self._targets), self._token, cursor) as stream:
                while received < most:
                    frame = await stream.frame()
                    self.opened.set()
                    self.resyncs += frame.HasField("resync")
                    if frame.HasField("change"):
                        self.received.append(frame.change.event_id)
                        received += 1
                    cursor = frame.cursor
        except (Ended, OSError):
            await asyncio.sleep(0.05)
        return cursor


@pytest.fixture
def user() -> str:
    """A new user."""
    return new_id()


async def test_an_event_reaches_every_open_stream(
    replica: Replica, producer: Producer, signer: Signer, user: str
) -> None:
    target = await replica()
    token = signer.token(sub=user)
    event = a_task_event(user, version=3, title="Buy groceries", description=None)
    async with GRPC.open(target, token) as one, WEBSOCKET.open(target, token) as other:
        await one.frame()
        await other.frame()
        await publish(producer, TOPIC, [event])
        for stream in (one, other):
            change = (await stream.change()).change
            assert (change.event_id, change.event_type, change.subject_id) == (event.id, event.type, event.subject)
            assert change.version == 3
            assert dict(change.payload) == event.payload


@pytest.mark.parametrize(("topic", "make"), [(SESSION_EVENTS, a_session_event), (HISTORY_TOPIC, a_correction)])
async def test_a_session_reaches_every_open_stream(
    replica: Replica, producer: Producer, signer: Signer, user: str, topic: str, make: Callable[..., Event]
) -> None:
    target = await replica()
    token = signer.token(sub=user)
    event = make(user, version=3, status="paused", tasks=[{"is_done": False}])
    async with GRPC.open(target, token) as one, WEBSOCKET.open(target, token) as other:
        await one.frame()
        await other.frame()
        await publish(producer, topic, [event])
        for stream in (one, other):
            change = (await stream.change()).change
            assert (change.event_id, change.event_type, change.subject_id) == (event.id, event.type, event.subject)
            assert change.version == 3
            assert MessageToDict(change.payload) == {"status": "paused", "tasks": [{"is_done": False}]}


@pytest.mark.parametrize("seed", range(3))
async def test_random_disconnects_lose_and_repeat_nothing(
    replica: Replica, producer: Producer, signer: Signer, user: str, seed: int
) -> None:
    targets = [await replica(), await replica(queue_frames=3)]
    token = signer.token(sub=user)
    devices = [
        Device(targets, token, client, seed * 10 + number) for number, client in enumerate((GRPC, WEBSOCKET) * 2)
    ]
    events = [a_task_event(user, text="x" * 50) for _ in range(300)]
    reading = [asyncio.create_task(device.read(300)) for device in devices]
    for device in devices:
        async with asyncio.timeout(15):
            await device.opened.wait()
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    published = 0
    while published < 300:
        batch = events[published : published + rng.randrange(1, 25)]
        await publish(producer, TOPIC, [*batch, *rng.sample(events[:published], min(published, 3))])
        published += len(batch)
    async with asyncio.timeout(60):
        await asyncio.gather(*reading)
    for device in devices:
        assert device.received == [event.id for event in events]
        assert device.connections > 10
        assert device.resyncs == 0


async def test_streams_pause_while_redis_is_away_and_go_on_where_they_were(
    replica: Replica, producer: Producer, signer: Signer, user: str, own_redis: Stack
) -> None:
    target = await replica()
    devices = [
        Device([target], signer.token(sub=user), client, number) for number, client in enumerate((GRPC, WEBSOCKET))
    ]
    events = [a_task_event(user) for _ in range(200)]
    reading = [asyncio.create_task(device.read(200, steady=True)) for device in devices]
    for device in devices:
        async with asyncio.timeout(15):
            await device.opened.wait()
    await publish(producer, TOPIC, events[:60])
    await until(lambda: all(len(device.received) >= 20 for device in devices), "the first are received")
    await asyncio.to_thread(own_redis.kill, "valkey")
    await publish(producer, TOPIC, events[60:])
    async with asyncio.timeout(60):
        await asyncio.gather(*reading)
    for device in devices:
        assert device.received == [event.id for event in events]
        assert device.resyncs == 0
