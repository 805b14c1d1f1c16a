"""The relay between two passes; what it does in one is shown on a real broker in tests/events."""

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import KafkaError

from mesh.events.producer import Producer, ProducerRecord
from mesh.events.relay import Relay


@pytest.mark.parametrize("since_the_last", [0.02, 0.05])
@pytest.mark.parametrize(("a_second", "seconds"), [(100, 0.015), (300, 0.015), (800, 0.04), (5000, 0.04)])
def test_it_pauses_longer_where_many_events_come_however_long_it_paused(
    monkeypatch: pytest.MonkeyPatch, since_the_last: float, a_second: int, seconds: float
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    relay = Relay("postgresql://nowhere", Producer("nowhere:1", name="source"), service="source", batch=500)
    relay.pause_after(1)
    now += since_the_last
    assert relay.pause_after(round(a_second * since_the_last)) == seconds


@pytest.mark.parametrize("published", [500, 4000])
def test_it_does_not_pause_before_a_backlog(published: int) -> None:
    relay = Relay("postgresql://nowhere", Producer("nowhere:1", name="source"), service="source", batch=500)
    assert relay.pause_after(published) == 0.0


async def test_events_of_a_shard_go_in_their_order_however_postgres_plans_its_query() -> None:
    rows = [(seq, shard, ["items"], "key", b"{}", "", 0.0, 1) for seq, shard in ((5, 1), (4, 0), (3, 1), (2, 0))]
    sent: list[Sequence[ProducerRecord]] = []

    class Unordered:
        async def execute(self, statement: str, *_: object, **__: object) -> "Unordered":
            return self

        async def fetchall(self) -> list[tuple[object, ...]]:
            return rows

    class Recording(Producer):
        async def publish(self, records: Sequence[ProducerRecord], seconds: float = 1) -> list[KafkaError | None]:
            sent.append(records)
            return [None] * len(records)

    relay = Relay("postgresql://nowhere", Recording("nowhere:1", name="source"), service="source")
    published, _ = await relay._publish(Unordered())  # type: ignore[arg-type]
    assert [row.seq for row in published] == [2, 4, 3, 5]
    assert len(sent) == 1
