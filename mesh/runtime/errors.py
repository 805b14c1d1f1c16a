"""Refusals: what a service says no with. Plain exceptions; `mesh/rpc/status.py` turns the kind into a status.

A service names each of its refusals once, in its `errors.py`: a class of a kind, with a stable reason for machines and
a message for people. Every variable of the message is an argument, and goes into the metadata of the error.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldViolation(NamedTuple):
    """One field of a request that breaks a rule."""

    field: str
    description: str
    rule: str = ""


class ServiceError(Exception):
    """A call that is answered with no."""

    reason: str
    message: ClassVar[str]
    domain: str = ""
    """Empty: the domain of the service that raises it."""

    def __init__(
        self, *, retry_after: float | None = None, fields: Sequence[FieldViolation] = (), **variables: object
    ) -> None:
        """retry_after: seconds after which trying again makes sense."""
        self.metadata = {name: str(value) for name, value in variables.items()}
        self.retry_after = retry_after
        self.fields = tuple(fields)
        super().__init__(self.message.format(**self.metadata))


class InvalidArgument(ServiceError):
    """The request itself is wrong, whatever the state."""


class Unauthenticated(ServiceError):
    """Nobody knows who is calling."""


class PermissionDenied(ServiceError):
    """The caller is known and may not."""


class NotFound(ServiceError):
    """No such thing, or it belongs to somebody else."""


class AlreadyExists(ServiceError):
    """The thing is there already."""


class FailedPrecondition(ServiceError):
    """The state does not allow it."""


class Conflict(ServiceError):
    """Another change came first; read again and decide again."""


class ResourceExhausted(ServiceError):
    """Too much at once."""


class Unavailable(ServiceError):
    """A part is not there now."""


class InvalidRequest(InvalidArgument):
    """Fields break rules of the contract; `fields` names them."""

    reason = "INVALID_REQUEST"
    message = "{summary}"
    domain = "focusmesh"


class TokenMissing(Unauthenticated):
    """A call without a token."""

    reason = "TOKEN_MISSING"
    message = "This call needs an access token: send it as `authorization: Bearer TOKEN`."
    domain = "focusmesh"


class TokenInvalid(Unauthenticated):
    """A token that does not hold; why is not said."""

    reason = "TOKEN_INVALID"
    message = "The access token is not valid, or has expired. Get a new one with Refresh or Login."
    domain = "focusmesh"


class TokenRevoked(Unauthenticated):
    """A token whose session was ended."""

    reason = "TOKEN_REVOKED"
    message = "The session of this access token has ended. Sign in again."
    domain = "focusmesh"


class AudienceWrong(PermissionDenied):
    """A token of our own that is meant for another API."""

    reason = "TOKEN_INVALID"
    message = "The access token is meant for another API."
    domain = "focusmesh"


class ScopeMissing(PermissionDenied):
    """A token that does not carry the scope."""

    reason = "SCOPE_MISSING"
    message = "The access token lacks the scope {scope}."
    domain = "focusmesh"


class InternalOnly(PermissionDenied):
    """An RPC between services, called with a user's token."""

    reason = "INTERNAL_ONLY"
    message = "This call is for other services only."
    domain = "focusmesh"


class ServiceTokenInvalid(Unauthenticated):
    """A call between services whose token does not hold; the callee's log says why."""

    reason = "SERVICE_TOKEN_INVALID"
    message = "The service token is not valid for this service."
    domain = "focusmesh"


class CallerNotAllowed(PermissionDenied):
    """A service that the RPC's policy does not name among its callers."""

    reason = "CALLER_NOT_ALLOWED"
    message = "The service {service} may not make this call."
    domain = "focusmesh"


class RequestIdReused(FailedPrecondition):
    """The same request_id with another request."""

    reason = "REQUEST_ID_REUSED"
    message = "The request_id {request_id} was used before with another request. Choose a new one."
    domain = "focusmesh"


class PageTokenInvalid(InvalidArgument):
    """A page_token that was not made by this list with these filters."""

    reason = "PAGE_TOKEN_INVALID"
    message = "The page_token does not belong to this list, or its filters or order changed. Begin without one."
    domain = "focusmesh"

    def __init__(self) -> None:
        super().__init__(fields=[FieldViolation("page_token", "must be the next_page_token of the same list")])


class FieldNotInMask(InvalidArgument):
    """A field that is set and not named in the mask: probably a mistake."""

    reason = "FIELD_NOT_IN_MASK"
    message = "The field {field} is set and not named in update_mask. Name it, or leave it out."
    domain = "focusmesh"

    def __init__(self, field: str) -> None:
        """field: the one that is set."""
        super().__init__(field=field, fields=[FieldViolation(field, "must be named in update_mask")])


class VersionConflict(Conflict):
    """The etag is not the current one."""

    reason = "VERSION_CONFLICT"
    message = "It changed since it was read. Read it again; the current etag is {etag}."
    domain = "focusmesh"


class Overloaded(ResourceExhausted):
    """More calls at once than the service takes."""

    reason = "OVERLOADED"
    message = "Too many calls at once. Try again in a moment."
    domain = "focusmesh"


class DependencyUnavailable(Unavailable):
    """A part that the call needs is away; which one is for the log, not for the caller."""

    reason = "UNAVAILABLE"
    message = "The service is not available right now. Try again in a moment."
    domain = "focusmesh"

    def __init__(self, part: str, *, retry_after: float = 1.0) -> None:
        """part: the name for the log, such as `database`."""
        self.part = part
        super().__init__(retry_after=retry_after)


class DeadlineExceeded(ServiceError):
    """The work took longer than the call may."""

    reason = "DEADLINE_EXCEEDED"
    message = "The call took longer than its deadline."
    domain = "focusmesh"


class Internal(ServiceError):
    """Anything unexpected: says nothing but where to look in the log."""

    reason = "INTERNAL"
    message = "Something went wrong. Tell us the error id {error_id}."
    domain = "focusmesh"
