"""What the audit service refuses."""

from mesh.runtime.errors import NotFound


class AuditRecordNotFound(NotFound):
    """No such record, or somebody else's."""

    reason = "AUDIT_RECORD_NOT_FOUND"
    message = "There is no audit record {audit_record_id}."
