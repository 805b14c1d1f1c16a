"""Which errors of Redis pass by themselves: their callers may try again, and their events wait."""

from redis import exceptions

UNREACHABLE = (exceptions.ConnectionError, exceptions.TimeoutError)
_TEMPORARY = (
    *UNREACHABLE,  # also while it loads its data
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,  # also when a replica has lost its master
)
_TEMPORARY_CODES = ("MISCONF", "NOREPLICAS", "BUSY")
"""Of errors that redis-py has no class for: the disk takes nothing, too few replicas, a script does not end."""


def is_temporary(error: BaseException) -> bool:
    """Whether Redis refused for its own state: unreachable, full, read-only, loading, electing, busy."""
    if isinstance(error, _TEMPORARY):
        return True
    return isinstance(error, exceptions.ResponseError) and str(error).partition(" ")[0] in _TEMPORARY_CODES
