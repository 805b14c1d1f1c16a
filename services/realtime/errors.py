"""What the realtime service refuses, and what it ends streams with."""

from mesh.runtime.errors import InvalidArgument, PermissionDenied, ResourceExhausted, Unavailable


class CursorInvalid(InvalidArgument):
    """A cursor that no stream has sent."""

    reason = "CURSOR_INVALID"
    message = "The cursor is not one of this stream. Begin without one."


class SlowConsumer(ResourceExhausted):
    """More frames wait for a connection than may."""

    reason = "SLOW_CONSUMER"
    message = "The client reads too slowly. Subscribe again from the last cursor."


class TooManyStreams(ResourceExhausted):
    """The user's streams on this replica are used up."""

    reason = "TOO_MANY_STREAMS"
    message = "There are {limit} open streams already. Close one first."


class OriginRefused(PermissionDenied):
    """A page of a stranger in the user's browser."""

    reason = "ORIGIN_REFUSED"
    message = "Pages of this origin may not connect."


class ShuttingDown(Unavailable):
    """This replica stops; another one goes on."""

    reason = "UNAVAILABLE"
    message = "This replica stops. Subscribe again from the last cursor."
    domain = "focusmesh"
