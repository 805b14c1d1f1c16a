"""Conversion of changes and frames to the messages of the contract."""

import orjson
from focusmesh.realtime.v1.realtime_event_pb2 import Change, Heartbeat, Opened, RealtimeEvent, Resync
from google.protobuf.json_format import MessageToDict

from mesh.events.envelope import ConsumedEvent
from mesh.runtime import clock
from services.realtime.model import Entry, Position


def change_to_bytes(event: ConsumedEvent) -> bytes:
    """The change that an event reports, serialized for the streams."""
    change = Change(event_id=event.id, event_type=event.type, subject_id=event.subject, version=event.version)
    clock.set_timestamp(change.occur_time, event.time)
    change.payload.update(event.data["payload"])
    return change.SerializeToString()


def change_frame(entry: Entry) -> RealtimeEvent:
    """The frame that delivers a change."""
    frame = RealtimeEvent(cursor=str(entry.position))
    frame.change.ParseFromString(entry.change)
    return frame


def opened_frame(position: Position, *, now: int, heartbeat_seconds: int, closes: int) -> RealtimeEvent:
    """The first frame. now, closes: microseconds since the epoch."""
    opened = Opened(heartbeat_seconds=heartbeat_seconds)
    clock.set_timestamp(opened.server_time, now)
    clock.set_timestamp(opened.close_time, closes)
    return RealtimeEvent(cursor=str(position), opened=opened)


def heartbeat_frame(position: Position, *, now: int) -> RealtimeEvent:
    """The frame sent when nothing changed. now: microseconds since the epoch."""
    heartbeat = Heartbeat()
    clock.set_timestamp(heartbeat.server_time, now)
    return RealtimeEvent(cursor=str(position), heartbeat=heartbeat)


def resync_frame(position: Position, *, retention_seconds: int) -> RealtimeEvent:
    """The frame that reports lost changes."""
    return RealtimeEvent(cursor=str(position), resync=Resync(retention_seconds=retention_seconds))


def frame_to_json(frame: RealtimeEvent) -> str:
    """The frame as the WebSocket sends it: proto3 JSON, every field present."""
    return orjson.dumps(MessageToDict(frame, always_print_fields_with_no_presence=True)).decode()
