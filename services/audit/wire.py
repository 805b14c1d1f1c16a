"""Audit records as the contract has them."""

from focusmesh.audit.v1 import audit_record_pb2

from mesh import clock
from services.audit.model import Record


def record_to_pb(record: Record) -> audit_record_pb2.AuditRecord:
    """The record for its owner."""
    message = audit_record_pb2.AuditRecord(
        id=record.id,
        event_id=record.event_id,
        event_type=record.event_type,
        task_id=record.task_id,
        source_service=record.source_service,
        chain_position=record.chain_position,
        previous_hash=record.previous_hash,
        hash=record.hash,
    )
    message.payload.update(record.payload)
    clock.put(message.record_time, record.recorded_at)
    return message
