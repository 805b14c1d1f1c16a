"""Update masks: named and set = change, named and unset = clear, set and not named = a mistake that is told."""

from collections.abc import Collection

from google.protobuf.message import Message

from mesh.runtime.errors import FieldNotInMask, FieldViolation, InvalidRequest


def update_paths(request: Message, updatable: Collection[str]) -> frozenset[str]:
    """The fields that the request's `update_mask` names.

    Raises FieldNotInMask when one of `updatable` is set and not named: silently ignoring it would lose what the caller
    meant. Raises InvalidRequest for a path below one of them: the contract's `field_mask.in` lets `title.x` pass.
    """
    paths = frozenset(request.update_mask.paths)  # type: ignore[attr-defined]  # every update request has one
    if unknown := sorted(paths.difference(updatable)):
        description = f"cannot name {', '.join(unknown)}"
        raise InvalidRequest(
            fields=[FieldViolation("update_mask", description, "field_mask.in")], summary=f"update_mask: {description}"
        )
    for field in updatable:
        if field not in paths and request.HasField(field):
            raise FieldNotInMask(field=field)
    return paths
