"""Traces of changes that were, or could not be, passed on."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from services.realtime.cache.streams import Streams
from services.realtime.consumers import ChangePublisher
from tests.support.realtime_replicas import an_event
from tests.support.spans import recorded


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span of the test."""
    with recorded() as exporter:
        yield exporter


async def test_every_event_of_a_batch_that_failed_says_so(spans: InMemorySpanExporter, user: str) -> None:
    broken = ChangePublisher(Streams(Redis.from_url("redis://127.0.0.1:1"), retention_seconds=300))
    with pytest.raises(RedisAway):
        await broken.apply([an_event(user), an_event(user)])
    assert [span.status.status_code for span in spans.get_finished_spans()] == [StatusCode.ERROR] * 2


async def test_events_that_were_passed_on_say_that(
    spans: InMemorySpanExporter, broadcast: ChangePublisher, user: str
) -> None:
    await broadcast.apply([an_event(user), an_event(user)])
    finished = spans.get_finished_spans()
    assert [(span.attributes or {})["rpc.response.status_code"] for span in finished] == ["OK"] * 2
