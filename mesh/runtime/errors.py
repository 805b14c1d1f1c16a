"""Errors that handlers raise for their callers: plain exceptions; `mesh/rpc/status.py` maps each kind to a status.

A service declares each of its errors once, in its `errors.py`: a subclass of a kind, with a stable reason for machines
and a message for people. Every variable of the message is an argument, and a member of the error's metadata.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldViolation(NamedTuple):
    """One field of a request that breaks a rule."""

    field: str
    description: str
    rule: str = ""


class ServiceError(Exception):
    """An error for the caller; raised anywhere in a call."""

    reason: str
    message: ClassVar[str]
    domain: str = ""
    """Empty: the domain of the service that raises it."""

    def __init__(
        self, *, retry_after: float | None = None, fields: Sequence[FieldViolation] = (), **variables: object
    ) -> None:
        """retry_after: seconds after which a retry may succeed. variables: of the message."""
        self.metadata = {name: str(value) for name, value in variables.items()}
        self.retry_after = retry_after
        self.fields = tuple(fields)
        super().__init__(self.message.format(**self.metadata))


class InvalidArgument(ServiceError):
    """The request is invalid, whatever the state."""


class Unauthenticated(ServiceError):
    """The caller is not identified."""


class PermissionDenied(ServiceError):
    """The caller is identified and not allowed."""


class NotFound(ServiceError):
    """The resource does not exist, or belongs to another user."""


class AlreadyExists(ServiceError):
    """The resource exists already."""


class FailedPrecondition(ServiceError):
    """The current state does not allow the call."""


class Conflict(ServiceError):
    """Another change came first: read and decide again."""


class ResourceExhausted(ServiceError):
    """A limit of the caller or of the service is reached."""


class Unavailable(ServiceError):
    """A dependency, or the service, is unavailable now."""


class InvalidRequest(InvalidArgument):
    """Fields violate rules of the contract; `fields` names them."""

    reason = "INVALID_REQUEST"
    message = "{summary}"
    domain = "focusmesh"


class TokenMissing(Unauthenticated):
    """The call has no token."""

    reason = "TOKEN_MISSING"
    message = "This call needs an access token: send it as `authorization: Bearer TOKEN`."
    domain = "focusmesh"


class TokenInvalid(Unauthenticated):
    """The access token is invalid or expired; the caller does not learn which."""

    reason = "TOKEN_INVALID"
    message = "The access token is not valid, or has expired. Get a new one with Refresh or Login."
    domain = "focusmesh"


class TokenRevoked(Unauthenticated):
    """The session of the token was revoked."""

    reason = "TOKEN_REVOKED"
    message = "The session of this access token has ended. Sign in again."
    domain = "focusmesh"


class AudienceWrong(PermissionDenied):
    """The token was issued for another API."""

    reason = "TOKEN_INVALID"
    message = "The access token is meant for another API."
    domain = "focusmesh"


class ScopeMissing(PermissionDenied):
    """The token lacks the scope."""

    reason = "SCOPE_MISSING"
    message = "The access token lacks the scope {scope}."
    domain = "focusmesh"


class GuestNotAllowed(PermissionDenied):
    """A guest's token was used for an RPC of signed-in users."""

    reason = "GUEST_NOT_ALLOWED"
    message = "Guests cannot do this. Register or sign in first."
    domain = "focusmesh"


class InternalOnly(PermissionDenied):
    """A user's token was used for an RPC between services."""

    reason = "INTERNAL_ONLY"
    message = "This call is for other services only."
    domain = "focusmesh"


class ServiceTokenInvalid(Unauthenticated):
    """The token of a call between services is invalid; the callee logs why."""

    reason = "SERVICE_TOKEN_INVALID"
    message = "The service token is not valid for this service."
    domain = "focusmesh"


class CallerNotAllowed(PermissionDenied):
    """The policy of the RPC does not name this service among its callers."""

    reason = "CALLER_NOT_ALLOWED"
    message = "The service {service} may not make this call."
    domain = "focusmesh"


class RequestIdReused(FailedPrecondition):
    """The request_id was used for another request."""

    reason = "REQUEST_ID_REUSED"
    message = "The request_id {request_id} was used before with another request. Choose a new one."
    domain = "focusmesh"


class PageTokenInvalid(InvalidArgument):
    """The page_token was not issued by this list with these filters."""

    reason = "PAGE_TOKEN_INVALID"
    message = "The page_token does not belong to this list, or its filters or order changed. Begin without one."
    domain = "focusmesh"

    def __init__(self) -> None:
        super().__init__(
            fields=[FieldViolation("page_token", "must be the next_page_token of the same list", "page_token.own")]
        )


class FieldNotInMask(InvalidArgument):
    """A field is set but not named in the mask, which is probably a mistake."""

    reason = "FIELD_NOT_IN_MASK"
    message = "The field {field} is set and not named in update_mask. Name it, or leave it out."
    domain = "focusmesh"

    def __init__(self, field: str) -> None:
        """field: name of the field that is set."""
        super().__init__(
            field=field, fields=[FieldViolation(field, "must be named in update_mask", "update_mask.named")]
        )


class VersionConflict(Conflict):
    """The etag is not that of the current version."""

    reason = "VERSION_CONFLICT"
    message = "It changed since it was read. Read it again; the current etag is {etag}."
    domain = "focusmesh"


class Overloaded(ResourceExhausted):
    """There are more concurrent calls than the service accepts."""

    reason = "OVERLOADED"
    message = "Too many calls at once. Try again in a moment."
    domain = "focusmesh"


class DependencyUnavailable(Unavailable):
    """A dependency of the service is unavailable; the log names it, the error does not."""

    reason = "UNAVAILABLE"
    message = "The service is not available right now. Try again in a moment."
    domain = "focusmesh"

    def __init__(self, dependency: str, *, retry_after: float = 1.0) -> None:
        """dependency: name for the log, such as `database`."""
        self.dependency = dependency
        super().__init__(retry_after=retry_after)


class DeadlineExceeded(ServiceError):
    """The work took longer than the deadline of the call."""

    reason = "DEADLINE_EXCEEDED"
    message = "The call took longer than its deadline."
    domain = "focusmesh"


class Internal(ServiceError):
    """An unexpected exception: the error holds only an ID to look for in the log."""

    reason = "INTERNAL"
    message = "Something went wrong. Tell us the error id {error_id}."
    domain = "focusmesh"
