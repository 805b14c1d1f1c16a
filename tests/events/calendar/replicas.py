"""Replicas of the calendar on the real broker, and what they publish."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import grpc
import orjson
from confluent_kafka import Consumer

from mesh.runtime.ids import new_id
from services.calendar.main import build
from tests.support import calendars
from tests.support.serving import SignerKeys, serving
from tests.support.tokens import Signer

REPLICAS = 3


class Replicas:
    """Three replicas of the calendar, which run from `start` on."""

    def __init__(self, stack: AsyncExitStack, signer: Signer, **settings: Any) -> None:
        self._stack, self._signer, self._settings = stack, signer, settings

    async def start(self) -> grpc.aio.Channel:
        """Starts them; returns what leads to one of them."""
        started = []
        for _ in range(REPLICAS):
            common = calendars.settings_for(**self._settings)
            app = build(replace(common, kafka_bootstrap=self.kafka), SignerKeys(self._signer))
            started.append(await self._stack.enter_async_context(serving(app)))
        return started[0]

    kafka = ""


def published(kafka: str, topic: str, user_id: str, count: int) -> list[dict[str, Any]]:
    """The messages about a user on the broker: the first so many, and what comes within a second after them."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": new_id(), "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[dict[str, Any]] = []
    try:
        while message := consumer.poll(20 if len(found) < count else 1):
            assert message.error() is None
            if message.key() == user_id.encode():
                found.append(orjson.loads(message.value()))
    finally:
        consumer.close()
    return found
