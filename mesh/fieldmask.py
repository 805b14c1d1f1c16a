"""Update masks: named and set = change, named and unset = clear, set and not named = a mistake that is told."""

from collections.abc import Iterable

from google.protobuf.message import Message

from mesh.errors import FieldNotInMask


def named(request: Message, updatable: Iterable[str]) -> frozenset[str]:
    """The fields that the request's `update_mask` names.

    The contract limits the mask to fields that may change. Raises FieldNotInMask when one of `updatable` is set and
    not named: silently ignoring it would lose what the caller meant.
    """
    paths = frozenset(request.update_mask.paths)  # type: ignore[attr-defined]  # every update request has one
    for field in updatable:
        if field not in paths and request.HasField(field):
            raise FieldNotInMask(field=field)
    return paths
