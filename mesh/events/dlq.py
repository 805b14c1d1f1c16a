"""`make dlq`: operators list, show and replay dead letters (their format: `dead_letters.py`).

    make dlq A="list"                                       which keys wait, and why
    make dlq A="show task-events.audit.dlq"                 every letter with its value
    make dlq A="replay task-events.audit.dlq --key KEY"     once the cause is fixed

A message becomes a dead letter when its consumer failed on it five times with an error that is not transient. Its key
is parked: later messages of the key follow it, in order, while other keys are consumed. Nothing is lost. Fix the
cause, then replay the key: the running consumer applies its letters in order, all or none, and continues the key
where it stopped. Elsewhere than on the stack of this machine: python -m mesh.events.dlq list.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from mesh.events import dead_letters
from mesh.events.dead_letters import Command, Letter, ReadTimeout
from mesh.events.envelope import Message
from mesh.events.producer import DeliveryTimeout, Producer, client_settings
from mesh.runtime.ids import new_id

_METADATA_SECONDS = 10
_POLL_SECONDS = 0.3

Say = Callable[[str], object]


class DeadLetters:
    """The subcommands."""

    def __init__(self, bootstrap: str, options: str, say: Say) -> None:
        """options: further librdkafka settings, as in `ServiceSettings.kafka_options`. say: prints."""
        self._bootstrap, self._options = bootstrap, options
        self._settings = client_settings(bootstrap, options, "dead letters")
        self._say = say

    def list(self, topics: Sequence[str]) -> int:
        """Prints one line per key, of these topics or of all."""
        found = 0
        for topic in topics or self._topics():
            letters = sorted(dead_letters.outstanding(self._read(topic)), key=lambda letter: letter.message.key_text)
            for key, group in groupby(letters, key=lambda letter: letter.message.key_text):
                of_key = list(group)
                first = of_key[0]
                self._say(
                    f"{topic}  key {key or '(none)'}  {len(of_key)} waiting  since {first.time}  {first.reason}\n"
                )
                found += 1
        if not found:
            self._say("No dead letters wait.\n")
        return 0

    def show(self, topic: str, key: str | None) -> int:
        """Prints every letter of a topic, or of one key, with its value."""
        letters = self._of_key(topic, key)
        for letter in letters:
            self._say(
                f"offset {letter.message.offset}  key {letter.message.key_text}\n"
                f"  from    {letter.topic}/{letter.partition}/{letter.offset}\n"
                f"  at      {letter.time}\n  reason  {letter.reason}\n  value   {_readable(letter.message.value)}\n"
            )
        if not letters:
            self._say("No dead letters wait.\n")
        return 0

    async def replay(self, topic: str, key: str | None, skip: Iterable[int], seconds: float) -> int:
        """Replays one key or all, and waits for the consumer's responses; returns the exit status."""
        keys = {letter.message.key_text: letter.message.key for letter in self._of_key(topic, key)}
        if not keys:
            self._say("No dead letters wait.\n")
            return 0
        commands = {new_id(): name for name in keys}
        producer = Producer(self._bootstrap, name="dead letters", options=self._options)
        producer.start()
        try:
            errors = await producer.publish(
                [
                    dead_letters.replay_command(topic, keys[name], Command(command, frozenset(skip)))
                    for command, name in commands.items()
                ]
            )
            for error in filter(None, errors):
                raise KafkaException(error)
        finally:
            await producer.close()
        return await self._await_responses(topic, commands, seconds)

    async def _await_responses(self, topic: str, commands: dict[str, str], seconds: float) -> int:
        """Prints the outcome of each command; returns 0 when all were executed."""
        deadline, status = time.monotonic() + seconds, 0
        while commands:
            for record in self._read(topic):
                command = record.header(dead_letters.RELEASED) or record.header(dead_letters.REFUSED)
                if command not in commands:
                    continue
                key = commands.pop(command)
                if record.header(dead_letters.REFUSED):
                    status = 1
                    self._say(f"key {key}: still refused, nothing changed. {record.header(dead_letters.REASON)}\n")
                else:
                    self._say(f"key {key}: replayed.\n")
            if commands and time.monotonic() > deadline:
                self._say(f"{len(commands)} keys: no response yet. Does the consumer run? It responds when it does.\n")
                return 1
            if commands:
                await asyncio.sleep(_POLL_SECONDS)
        return status

    def _of_key(self, topic: str, key: str | None) -> Sequence[Letter]:
        letters = dead_letters.outstanding(self._read(topic))
        return [letter for letter in letters if key is None or letter.message.key_text == key]

    def _topics(self) -> Sequence[str]:
        topics = AdminClient(self._settings).list_topics(timeout=_METADATA_SECONDS).topics
        return sorted(topic for topic in topics if topic.endswith(dead_letters.SUFFIX))

    def _read(self, topic: str) -> Sequence[Message]:
        metadata = AdminClient(self._settings).list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
        if metadata.error is not None:
            raise SystemExit(
                f"mesh.events.dlq: {topic}: {metadata.error.str()}. `list` shows the topics that have letters."
            )
        return [
            message
            for partition in sorted(metadata.partitions)
            for message in dead_letters.read_partition(self._settings, topic, partition)
        ]


def _readable(value: bytes | None) -> str:
    try:
        return json.dumps(json.loads(value or b""), indent=2, ensure_ascii=False).replace("\n", "\n          ")
    except ValueError:
        return repr(value)


def _arguments(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mesh.events.dlq", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bootstrap",
        default=environment.get("FOCUSMESH_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        help="Kafka brokers; default: $FOCUSMESH_KAFKA_BOOTSTRAP. $FOCUSMESH_KAFKA_OPTIONS says how to log in",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | show | replay")
    listing = verbs.add_parser("list", help="one line for every key that waits")
    listing.add_argument("topics", nargs="*", metavar="TOPIC", help="dead-letter topics; default: all")
    show = verbs.add_parser("show", help="the letters of a topic with reason and value")
    show.add_argument("topic", metavar="TOPIC", help="dead-letter topic, such as task-events.audit.dlq")
    show.add_argument("--key", help="only this key, a user id")
    replay = verbs.add_parser(
        "replay",
        help="apply the letters of a key again, in order, and let the key go on",
        description="The consumer of the topic applies a key's letters in one transaction. When one fails again "
        "nothing changes, and the reason is printed: fix it, or leave that letter out with --skip.",
    )
    replay.add_argument("topic", metavar="TOPIC", help="dead-letter topic, such as task-events.audit.dlq")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("--key", help="the key, a user id")
    which.add_argument("--all", action="store_true", help="every key that waits, one by one")
    replay.add_argument(
        "--skip",
        type=int,
        action="append",
        default=[],
        metavar="OFFSET",
        help="leave a letter out for good; repeatable",
    )
    replay.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="for the response; default: 60")
    return parser


def main(arguments: Sequence[str] | None = None, say: Say = sys.stdout.write) -> int:
    """Command line; returns the exit status."""
    given: Any = _arguments(os.environ).parse_args(arguments)
    letters = DeadLetters(given.bootstrap, os.environ.get("FOCUSMESH_KAFKA_OPTIONS", ""), say)
    try:
        if given.verb == "list":
            return letters.list(given.topics)
        if given.verb == "show":
            return letters.show(given.topic, given.key)
        return asyncio.run(letters.replay(given.topic, given.key, given.skip, given.wait))
    except (KafkaException, DeliveryTimeout, ReadTimeout) as error:
        say(
            f"mesh.events.dlq: Kafka at {given.bootstrap} does not respond: {error}."
            " `make status` shows whether it runs.\n"
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
