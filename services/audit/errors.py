"""The errors of the audit service; reasons are values of `focusmesh.audit.v1.ErrorReason`."""

from mesh.runtime.errors import NotFound


class AuditRecordNotFound(NotFound):
    """The caller has no record with this id."""

    reason = "AUDIT_RECORD_NOT_FOUND"
    message = "There is no audit record {audit_record_id}."
