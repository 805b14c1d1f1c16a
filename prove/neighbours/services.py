"""What the services themselves show meanwhile: the pieces that kept their loops, their memory, events on their way."""

import json
from collections.abc import Iterator

import confluent_kafka
import psutil
import psycopg
from confluent_kafka import TopicPartition

from mesh.runtime.loop_lag import LoopLag
from prove.neighbours.results import Piece
from stack.database import MAIN
from stack.stack import Stack

_SECONDS = 20.0


class LoopLogs:
    """Reads what services say of their loops."""

    def __init__(self, stack: Stack) -> None:
        self._logs = {replica.name: stack.state.log(replica.name) for replica in stack.replicas}
        self._read = {name: path.stat().st_size for name, path in self._logs.items()}

    def lags(self) -> list[Piece]:
        """What they said since the last time."""
        return [
            Piece(name, int(str(line["lag_ms"])), int(str(line["cpu_ms"])), str(line["message"]))
            for name in self._logs
            for line in self._lines(name)
        ]

    def _lines(self, name: str) -> Iterator[dict[str, object]]:
        with self._logs[name].open("rb") as log:
            log.seek(self._read[name])
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read[name] += len(whole)
        for line in whole.splitlines():
            if LoopLag.__module__.encode() in line:
                yield json.loads(line)


def memory(stack: Stack) -> dict[str, int]:
    """Resident bytes of every replica."""
    pids = {status.name: status.pid for status in stack.status().values()}
    return {each.name: int(psutil.Process(pids[each.name]).memory_info().rss) for each in stack.replicas}


class Events:
    """How many events have not reached every consumer."""

    def __init__(self, stack: Stack) -> None:
        self._database = psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True)
        schemas = [service.schema for service in stack.services if service.publishes]
        self._waiting = " + ".join(f"(SELECT count(*) FROM {schema}.outbox)" for schema in schemas)
        self._groups = {
            service.name: confluent_kafka.Consumer({**stack.broker.client, "group.id": service.name, "log_level": 0})
            for service in stack.services
            if service.consumes
        }
        there = next(iter(self._groups.values())).list_topics(timeout=_SECONDS).topics
        self._partitions = {
            service.name: [
                TopicPartition(topic, number) for topic in service.consumes for number in there[topic].partitions
            ]
            for service in stack.services
            if service.consumes
        }

    def close(self) -> None:
        """Ends connections."""
        self._database.close()
        for group in self._groups.values():
            group.close()

    def on_their_way(self) -> int:
        """Events in outboxes and messages that a consumer has not applied."""
        [waiting] = self._database.execute(f"SELECT {self._waiting}").fetchone() or (0,)
        return int(waiting) + sum(self._behind(name) for name in self._groups)

    def _behind(self, name: str) -> int:
        group, behind = self._groups[name], 0
        for position in group.committed(self._partitions[name], timeout=_SECONDS):
            low, high = group.get_watermark_offsets(TopicPartition(position.topic, position.partition), _SECONDS)
            behind += high - max(low, position.offset)
        return behind
