"""The envelope of an event, a CloudEvent 1.0 in JSON: how it is written, stamped with an epoch, and read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson
from opentelemetry.trace import SpanKind

from mesh.runtime import clock
from mesh.runtime.telemetry import ServerSpan

if TYPE_CHECKING:
    from mesh.events.outbox import Event

SCHEMA_VERSION = "1.0"
SUPPORTED_MAJOR = "1"
LARGEST_ENVELOPE = 512 * 1024
"""Bytes, as `mesh/database/messaging.sql` checks them too."""
FIRST_EPOCH = 1
_SOURCE_PREFIX = "/focusmesh/"


class MalformedEvent(Exception):  # noqa: N818 (describes the message)
    """Cannot be parsed; retrying is pointless."""


class Message(NamedTuple):
    """A Kafka message, unmodified."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    time: int
    """When the broker accepted it, milliseconds since the epoch."""

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
    """The service that published it, such as `todo`."""
    subject: str
    """ID of the aggregate."""
    user_id: str
    epoch: int
    """Epoch of the publishing database: raised when a restore from a backup lowers its versions."""
    version: int
    """Version of the aggregate after the event; the greater (epoch, version) of an aggregate is newer."""
    time: int
    """Microseconds since the epoch."""
    data: Mapping[str, Any]
    """Event ID, type, schema version and `payload`, as specified."""
    traceparent: str
    topic: str
    value: bytes
    """The envelope as received."""

    def trace(self) -> ServerSpan:
        """Continues the trace of the call that caused the event; `traced` ends it."""
        return ServerSpan(f"process {self.type}", self.traceparent, SpanKind.CONSUMER, {"messaging.system": "kafka"})


@contextmanager
def traced(events: Sequence[ConsumedEvent]) -> Iterator[list[str]]:
    """Wraps the handling of events: continues and ends their traces; yields their traceparents."""
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


def envelope(event: "Event", traceparent: str) -> bytes:
    """The CloudEvents 1.0 JSON of an event, `data` as specified. Raises ValueError when it is too large."""
    time = clock.to_datetime(event.time)
    value = orjson.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": f"{_SOURCE_PREFIX}{event.source}",
            "type": event.type,
            "subject": event.subject,
            "time": time,
            "datacontenttype": "application/json",
            "partitionkey": event.user_id,
            "sequence": f"{event.version:020d}",
            "traceparent": traceparent,
            "data": {
                "event_id": event.id,
                "event_type": event.type,
                event.subject_name: event.subject,
                **event.beside,
                "timestamp": time,
                "schema_version": SCHEMA_VERSION,
                "payload": event.payload,
            },
        },
        option=orjson.OPT_UTC_Z,
    )
    if len(value) > LARGEST_ENVELOPE:
        raise ValueError(f"event {event.id} is {len(value)} bytes; at most {LARGEST_ENVELOPE} can be published")
    return value


def stamped(value: bytes, epoch: int) -> bytes:
    """The envelope with the epoch of the publishing database added."""
    return b'{"epoch":%d,%b' % (epoch, value[1:])


def read(message: Message, topic: str = "") -> ConsumedEvent:
    """The event in a message; raises MalformedEvent. topic: the original one, if not the message's."""
    try:
        found = orjson.loads(message.value or b"")
        data = found["data"]
        schema = str(data["schema_version"])
        event = ConsumedEvent(
            id=str(UUID(found["id"])),
            type=_text(found["type"]),
            source=_text(found["source"]).removeprefix(_SOURCE_PREFIX),
            subject=_text(found["subject"]),
            user_id=_text(found["partitionkey"]),
            epoch=int(found.get("epoch", FIRST_EPOCH)),
            version=int(found["sequence"]),
            time=round(datetime.fromisoformat(found["time"]).timestamp() * 1_000_000),
            data=data,
            traceparent=str(found.get("traceparent") or message.header("traceparent") or ""),
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
