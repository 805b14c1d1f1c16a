"""Errors that the realtime service returns or ends streams with."""

from mesh.runtime.errors import InvalidArgument, PermissionDenied, ResourceExhausted, Unavailable


class CursorInvalid(InvalidArgument):
    """The cursor was not issued by any stream."""

    reason = "CURSOR_INVALID"
    message = "The cursor is not one of this stream. Begin without one."


class SlowConsumer(ResourceExhausted):
    """Frames wait, and the connection has accepted none for `patience_seconds`."""

    reason = "SLOW_CONSUMER"
    message = "The client reads too slowly. Subscribe again from the last cursor."


class TooManyStreams(ResourceExhausted):
    """The user has `streams_per_user` open streams on this replica."""

    reason = "TOO_MANY_STREAMS"
    message = "There are {limit} open streams already. Close one first."


class TooManyMessages(ResourceExhausted):
    """The client sends more on its WebSocket than `messages_burst` and `messages_per_second` allow."""

    reason = "TOO_MANY_MESSAGES"
    message = "The client sends too many messages. Connect again, and send the cursor once."


class OriginRefused(PermissionDenied):
    """The browser's `Origin` is not in `allowed_origins`."""

    reason = "ORIGIN_REFUSED"
    message = "Pages of this origin may not connect."


class ShuttingDown(Unavailable):
    """This replica is shutting down; another one can continue the stream."""

    reason = "UNAVAILABLE"
    message = "This replica stops. Subscribe again from the last cursor."
    domain = "focusmesh"
