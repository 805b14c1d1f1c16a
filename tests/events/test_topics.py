"""Topics as the stack makes them."""

import pytest

from mesh.runtime.ids import new_id
from stack.errors import StackError
from stack.infrastructure.kafka import admin, make_topics


def test_the_number_of_partitions_of_a_topic_that_exists_is_never_changed(kafka: str) -> None:
    client, topic = admin({"bootstrap.servers": kafka}), f"items-{new_id()}"
    make_topics(client, {topic: 2})
    make_topics(client, {topic: 2})
    for number in (1, 3):
        with pytest.raises(
            StackError, match=f"{topic} has 2 partitions, services.toml says {number}; it stays"
        ) as error:
            make_topics(client, {topic: number})
        assert "keys would move to other partitions" in str(error.value)
        assert "set the number back to 2" in str(error.value.advice)
    assert len(client.list_topics(topic, timeout=10).topics[topic].partitions) == 2
