"""The errors of auth; reasons are values of `focusmesh.auth.v1.ErrorReason`.

No message repeats an e-mail address or a token: messages are logged.
"""

from mesh.runtime.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)


class EmailTaken(AlreadyExists):
    """Another account has the e-mail address; compared without case."""

    reason = "EMAIL_TAKEN"
    message = "There is an account with this e-mail address already. Sign in, or choose another address."


class PasswordTooCommon(InvalidArgument):
    """An easily guessed password."""

    reason = "PASSWORD_TOO_COMMON"
    message = "This password is one of the most common ones. Choose another."


class CredentialsWrong(Unauthenticated):
    """Unknown address, wrong password, closed account or, where that is asked for, an address that is not verified.

    One error, so that nobody learns which addresses exist.
    """

    reason = "CREDENTIALS_WRONG"
    message = "The e-mail address or the password is wrong, or the address must be verified first."


class MailTokenInvalid(InvalidArgument):
    """Unknown, expired, used or voided, or of a closed account: one error, so that nobody learns which."""

    reason = "MAIL_TOKEN_INVALID"
    message = "The link is not valid any more. Ask for another mail."

    def __init__(self) -> None:
        super().__init__(fields=[FieldViolation("token", "must be the unused token of a recent mail")])


class MailNotFound(NotFound):
    """Another service asks for the token of a mail that must not be sent, or not any more."""

    reason = "MAIL_NOT_FOUND"
    message = "There is no mail {mail_id} to send."


class TooManyAttempts(ResourceExhausted):
    """Failed attempts, or mails, of one account or from one network; always carries `retry_after`."""

    reason = "TOO_MANY_ATTEMPTS"
    message = "Too many attempts. Wait, then try again."


class TooManyGuests(ResourceExhausted):
    """Guests from one network; always carries `retry_after`."""

    reason = "TOO_MANY_GUESTS"
    message = "Too many guests began from this address. Wait, or register."


class RefreshTokenInvalid(Unauthenticated):
    """A refresh token that was never issued, has expired, or whose session ended."""

    reason = "REFRESH_TOKEN_INVALID"
    message = "The refresh token is not valid any more. Sign in again."


class RefreshTokenReused(Unauthenticated):
    """A refresh token that was exchanged before: its session has been ended."""

    reason = "REFRESH_TOKEN_REUSED"
    message = "The refresh token was used before, so its session was ended. Sign in again."


class TimeZoneUnknown(InvalidArgument):
    """A name that is not in the IANA time zone database."""

    reason = "TIME_ZONE_UNKNOWN"
    message = "There is no time zone {time_zone}. Use an IANA name such as Europe/Berlin."


class UserInactive(PermissionDenied):
    """The caller's account was deactivated or deleted after the token was issued."""

    reason = "USER_INACTIVE"
    message = "This account is deactivated or deleted."


class UserNotFound(NotFound):
    """Another service names a user who does not exist, or whose account is deactivated or deleted."""

    reason = "USER_NOT_FOUND"
    message = "There is no active user {user_id}."
