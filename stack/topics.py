"""The broker's topics: made from the registry, and listed by `make topics`."""

from collections.abc import Mapping

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

from stack.trouble import Trouble

_SECONDS = 20


def make(client: AdminClient, wanted: Mapping[str, int]) -> None:
    """Makes the topics that are missing, with their partitions. Raises Trouble when one has another number."""
    there = client.list_topics(timeout=_SECONDS).topics
    for name, topic in there.items():
        if name in wanted and len(topic.partitions) != wanted[name]:
            raise Trouble(
                f"topic {name} has {len(topic.partitions)} partitions, services.toml says {wanted[name]}",
                advice="`make reset` (keys would change partitions and lose their order), or mend services.toml",
            )
    missing = [NewTopic(name, partitions, 1) for name, partitions in wanted.items() if name not in there]
    if not missing:
        return
    for name, made in client.create_topics(missing, operation_timeout=_SECONDS).items():
        try:
            made.result(_SECONDS)
        except confluent_kafka.KafkaException as error:
            if _code(error) != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise Trouble(f"topic {name} could not be made: {error}", advice="`make logs S=kafka`") from None


def _code(error: confluent_kafka.KafkaException) -> int | None:
    cause = error.args[0]
    return cause.code() if isinstance(cause, confluent_kafka.KafkaError) else None
