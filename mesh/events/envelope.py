"""What arrives: a Kafka message, and the CloudEvent in it. `mesh/events/outbox.py` writes the same envelope."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from opentelemetry.trace import SpanKind

from mesh.runtime.telemetry import ServerSpan

SUPPORTED_MAJOR = "1"
_SOURCE_PREFIX = "/focusmesh/"


class MalformedEvent(Exception):  # noqa: N818 (a verdict about a message)
    """A message that no number of tries will make readable."""


class Message(NamedTuple):
    """A message of Kafka, untouched."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    time: int
    """When the broker took it, milliseconds since the epoch."""

    def header(self, name: str) -> str | None:
        """The last header of that name."""
        return next((value.decode(errors="replace") for found, value in reversed(self.headers) if found == name), None)

    @property
    def key_text(self) -> str:
        """The key as it is stored and shown; bytes that are not UTF-8 are escaped."""
        return (self.key or b"").decode(errors="backslashreplace").replace("\0", "\\x00")


class ConsumedEvent(NamedTuple):
    """An event of another service."""

    id: str
    type: str
    source: str
    """The service that tells it, such as `todo`."""
    subject: str
    """Id of the aggregate."""
    user_id: str
    version: int
    """Version of the aggregate after it."""
    time: int
    """Microseconds since the epoch."""
    data: Mapping[str, Any]
    """Event id, type, schema version and `payload`, as the specification has them."""
    traceparent: str
    topic: str
    value: bytes
    """The envelope as it came."""

    def trace(self) -> ServerSpan:
        """Continues the trace of the call that caused the event; `traced` ends it."""
        return ServerSpan(f"process {self.type}", self.traceparent, SpanKind.CONSUMER, {"messaging.system": "kafka"})


@contextmanager
def traced(events: Sequence[ConsumedEvent]) -> Iterator[list[str]]:
    """Around the work on events: continues their traces, gives their traceparents, and ends them as the work ends."""
    traces = [event.trace() for event in events]
    status, failure = "CANCELLED", None
    try:
        yield [trace.traceparent for trace in traces]
        status = "OK"
    except Exception as error:
        status, failure = "INTERNAL", error
        raise
    finally:
        for trace in reversed(traces):
            trace.end(status, failure)


def read(message: Message, topic: str = "") -> ConsumedEvent:
    """The event in a message; raises MalformedEvent. topic: where it was first published, if not the message's own."""
    try:
        envelope = orjson.loads(message.value or b"")
        data = envelope["data"]
        schema = str(data["schema_version"])
        event = ConsumedEvent(
            id=str(UUID(envelope["id"])),
            type=_text(envelope["type"]),
            source=_text(envelope["source"]).removeprefix(_SOURCE_PREFIX),
            subject=_text(envelope["subject"]),
            user_id=_text(envelope["partitionkey"]),
            version=int(envelope["sequence"]),
            time=round(datetime.fromisoformat(envelope["time"]).timestamp() * 1_000_000),
            data=data,
            traceparent=str(envelope.get("traceparent") or message.header("traceparent") or ""),
            topic=topic or message.topic,
            value=message.value or b"",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedEvent(f"not an event envelope: {type(error).__name__} {error}") from error
    if schema.split(".", 1)[0] != SUPPORTED_MAJOR:
        raise MalformedEvent(
            f"schema_version {schema} is of an unknown major version; this service reads {SUPPORTED_MAJOR}"
        )
    return event


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    return value
