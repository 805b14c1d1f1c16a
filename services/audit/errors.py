"""The errors of the audit service; reasons are values of `focusmesh.audit.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, NotFound


class AuditRecordNotFound(NotFound):
    """The caller has no record with this id."""

    reason = "AUDIT_RECORD_NOT_FOUND"
    message = "There is no audit record {audit_record_id}."


class AuditChainShorter(FailedPrecondition):
    """A verification begins where the chain has ended: nothing there could be verified."""

    reason = "AUDIT_CHAIN_SHORTER"
    message = "The chain ends at position {last_position}: nothing can be verified from {from_position} on."
