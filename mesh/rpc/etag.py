"""Etags: the version of a row, opaque to clients."""

from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesh.runtime.errors import VersionConflict

Row = TypeVar("Row", bound=tuple[Any, ...])


@lru_cache(maxsize=4096)
def etag(version: int) -> str:
    """The etag of a version, such as `v7`."""
    return f"v{version}"


def etag_of(request: Message) -> str | None:
    """The etag of a request; None when it has none and accepts every version."""
    return request.etag if request.HasField("etag") else None  # type: ignore[attr-defined]  # of every changing request


def check_etag(expected: str | None, version: int) -> None:
    """Raises VersionConflict, with the current etag, when `expected` is the etag of another version."""
    if expected is not None and expected != etag(version):
        raise VersionConflict(etag=etag(version))


def next_version(row: Row, now: int, **changes: Any) -> Row:
    """The row with these changes, as its next version.

    row: a NamedTuple with `version` and `updated_at`, which never moves back: another replica's clock may be behind.
    """
    current: Any = row
    changed: Row = current._replace(**changes, updated_at=max(now, current.updated_at), version=current.version + 1)
    return changed
