"""Converts audit records to messages of the contract; no other file does."""

from focusmesh.audit.v1 import audit_record_pb2, audit_service_pb2

from mesh.runtime import clock
from services.audit.model import Filter, Record

_SUBJECT_TYPES = {
    "todo": audit_record_pb2.SUBJECT_TYPE_TASK,
    "pomodoro": audit_record_pb2.SUBJECT_TYPE_FOCUS_SESSION,
    "history": audit_record_pb2.SUBJECT_TYPE_ARCHIVED_SESSION,
    "calendar": audit_record_pb2.SUBJECT_TYPE_CALENDAR_EVENT,
}
"""By the service that published the event, which the hash of a record covers."""


def record_to_pb(record: Record, message: audit_record_pb2.AuditRecord | None = None) -> audit_record_pb2.AuditRecord:
    """The message of a record. message: filled in place, which saves a list a copy of each record."""
    if message is None:
        message = audit_record_pb2.AuditRecord()
    message.id, message.event_id, message.task_id = record.id, record.event_id, record.task_id
    message.event_type, message.source_service = record.event_type, record.source_service
    message.subject_type = _SUBJECT_TYPES.get(record.source_service, audit_record_pb2.SUBJECT_TYPE_UNSPECIFIED)
    message.chain_position = record.chain_position
    message.previous_hash, message.hash = record.previous_hash, record.hash
    message.payload.update(record.payload)
    clock.set_timestamp(message.record_time, record.recorded_at)
    return message


def filter_from_pb(request: audit_service_pb2.ListAuditRecordsRequest) -> Filter:
    """The filters of a list request."""
    return Filter(
        task_id=request.task_id if request.HasField("task_id") else None,
        subject_id=request.subject_id if request.HasField("subject_id") else None,
        event_types=tuple(request.event_types),
        recorded_from=clock.from_timestamp(request.recorded_from) if request.HasField("recorded_from") else None,
        recorded_before=clock.from_timestamp(request.recorded_before) if request.HasField("recorded_before") else None,
    )
