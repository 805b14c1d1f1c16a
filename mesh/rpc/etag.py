"""Etags: the version of a row, in a form that clients do not calculate with."""

from functools import lru_cache

from mesh.runtime.errors import VersionConflict


@lru_cache(maxsize=4096)
def etag(version: int) -> str:
    """The etag of a version, such as `"v7"` without the quotes."""
    return f"v{version}"


def check_etag(expected: str | None, version: int) -> None:
    """Raises VersionConflict, with the current etag, when the caller based the change on another version."""
    if expected is not None and expected != etag(version):
        raise VersionConflict(etag=etag(version))
