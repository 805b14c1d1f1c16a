"""Update masks: a field named and set is changed, named and unset is cleared, set and not named is an error.

An enum's zero, which responses show for a field that is not set, is unset.
"""

from functools import cache

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from mesh.runtime.errors import FieldNotInMask, FieldViolation, InvalidRequest


def update_paths(request: Message) -> frozenset[str]:
    """The fields that the request's `update_mask` names, of those that its rule `field_mask.in` allows.

    Makes an enum that is zero unset.
    Raises FieldNotInMask when an allowed field is set and not named: ignoring it would discard the caller's intent.
    Raises InvalidRequest for a path below an allowed field: protovalidate lets `title.x` pass.
    """
    paths = frozenset(request.update_mask.paths)  # type: ignore[attr-defined]  # every update request has one
    updatable = _updatable(request.DESCRIPTOR)
    if unknown := sorted(paths.difference(updatable)):
        description = f"cannot name {', '.join(unknown)}"
        raise InvalidRequest(
            fields=[FieldViolation("update_mask", description, "field_mask.in")], summary=f"update_mask: {description}"
        )
    for field in _enums(request.DESCRIPTOR):
        if not getattr(request, field):
            request.ClearField(field)
    for field in updatable:
        if field not in paths and _is_set(request, field):
            raise FieldNotInMask(field=field)
    return paths


def _is_set(request: Message, name: str) -> bool:
    if request.DESCRIPTOR.fields_by_name[name].is_repeated:
        return bool(getattr(request, name))
    return request.HasField(name)


@cache
def _enums(descriptor: Descriptor) -> tuple[str, ...]:
    fields = (descriptor.fields_by_name[name] for name in _updatable(descriptor))
    return tuple(field.name for field in fields if field.enum_type and not field.is_repeated)


@cache
def _updatable(descriptor: Descriptor) -> tuple[str, ...]:
    rules = descriptor.fields_by_name["update_mask"].GetOptions().Extensions[validate_pb2.field]
    return tuple(getattr(rules.field_mask, "in"))
