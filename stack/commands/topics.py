"""`make topics`: every topic, what it keeps, and how far each consumer group is behind."""

from collections.abc import Iterator, Mapping, Sequence

import confluent_kafka

from stack.commands.status import running_stack
from stack.errors import run_command
from stack.infrastructure import kafka
from stack.registry import Registry
from stack.terminal import table

_SECONDS = 20


def _rows(connection: Mapping[str, str], registry: Registry) -> Iterator[tuple[str, ...]]:
    """A line per topic and group that reads it."""
    there = kafka.admin(connection).list_topics(timeout=_SECONDS).topics
    groups = {name: [s.name for s in registry.services.values() if name in s.consumes] for name in there}
    for name in sorted(there):
        if name.startswith("__"):
            continue
        partitions = [confluent_kafka.TopicPartition(name, number) for number in there[name].partitions]
        for group in groups[name] or [""]:
            kept, behind = _counts(connection, group or kafka.PROBE_GROUP, partitions)
            yield name, str(len(partitions)), str(kept), group or "-", str(behind) if group else "-"


def behind(connection: Mapping[str, str], topic: str, group: str) -> int:
    """How many messages of a topic the group has not applied."""
    there = kafka.admin(connection).list_topics(topic, timeout=_SECONDS).topics[topic].partitions
    return _counts(connection, group, [confluent_kafka.TopicPartition(topic, number) for number in there])[1]


def _counts(
    connection: Mapping[str, str], group: str, partitions: Sequence[confluent_kafka.TopicPartition]
) -> tuple[int, int]:
    """Messages kept, and how many of them the group has not applied."""
    consumer = confluent_kafka.Consumer({**connection, "group.id": group, "log_level": 0})
    try:
        positions = consumer.committed(list(partitions), timeout=_SECONDS)
        committed = {position.partition: position.offset for position in positions}
        kept = behind = 0
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(partition, timeout=_SECONDS)
            kept += high - low
            behind += high - max(low, committed[partition.partition])
        return kept, behind
    finally:
        consumer.close()


def main() -> None:
    """Prints every topic."""
    stack = running_stack()
    head = ("topic", "partitions", "messages", "group", "behind")
    print(table(head, list(_rows(stack.broker.client, stack.registry))))


if __name__ == "__main__":
    run_command(main)
