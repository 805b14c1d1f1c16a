"""The consumer whose client fails; what it does with a broker is shown in tests/events."""

from collections.abc import Sequence

import pytest

from harness.waiting import until
from mesh.events import consumer as consumer_module
from mesh.events.consumer import Consumer
from mesh.events.envelope import ConsumedEvent, Message
from mesh.events.partition import first_batch


class Nothing:
    """A handler that is never called."""

    async def apply(self, events: Sequence[ConsumedEvent]) -> None:
        raise AssertionError(events)


@pytest.mark.parametrize(("sizes", "together"), [
    ([], 0),
    ([100] * 499, 499),
    ([100] * 501, 500),
    ([512 * 1024] * 3, 2),
    ([512 * 1024, 512 * 1024 + 1], 1),
    ([2 * 1024 * 1024, 1], 1),
])  # fmt: skip
def test_what_is_delivered_together_is_bounded_by_number_and_by_size(sizes: list[int], together: int) -> None:
    messages = [Message("topic", 0, offset, None, b"x" * size, (), 0) for offset, size in enumerate(sizes)]
    assert first_batch(messages) == messages[:together]


@pytest.mark.parametrize(
    ("long", "in_a_row"), [(0.0, [1, 1, 1]), (3600.0, [1, 2, 3])], ids=["worked for long", "failed at once"]
)
async def test_it_waits_longer_after_each_failure_in_a_row(
    monkeypatch: pytest.MonkeyPatch, long: float, in_a_row: list[int]
) -> None:
    """A client that worked for long begins a new row: errors of months do not add up to the longest wait."""
    waits: list[int] = []

    def backoff(failures: int) -> float:
        waits.append(failures)
        return 0.001

    monkeypatch.setattr(consumer_module, "_WORKED_SECONDS", long)
    monkeypatch.setattr(consumer_module, "backoff", backoff)
    consumer = Consumer("nowhere:1", group="group", topics=["topic"], handler=Nothing(), options="no.such.setting=1")
    consumer.start()
    await until(lambda: len(waits) >= 3, "it failed three times")
    await consumer.close()
    assert waits[:3] == in_a_row
