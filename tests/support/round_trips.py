"""Requests that set every field they have, and whether the resource that comes back has them all."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from harness.valid_requests import MASK, put, rules_of, valid_value

Resource = Any
_ABOUT_THE_CALL = {"request_id", "etag", "update_mask"}


def every_field(kind: type[Message], **given: Any) -> Message:
    """A request whose fields are all set, to values that are not their defaults; an update's mask names all it may.

    given: ids, and values that no rule of the contract describes.
    """
    request = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.name in given:
            put(request, field, given[field.name])
        elif field.message_type is not None and field.message_type.full_name == MASK:
            request.update_mask.paths.extend(getattr(rules_of(field).field_mask, "in"))  # type: ignore[attr-defined]
        elif field.name not in _ABOUT_THE_CALL:
            put(request, field, _value(field))
    return request


def lost(request: Message, resource: Message, *, but: frozenset[str] = frozenset()) -> list[str]:
    """The fields of a request whose values the resource does not have. but: ids and secrets."""
    names = [field.name for field, _ in request.ListFields() if field.name not in _ABOUT_THE_CALL | but]
    return [name for name in names if getattr(resource, name, None) != getattr(request, name)]


def _value(field: FieldDescriptor) -> Any:
    """A valid value that is not the field's default."""
    if field.is_repeated:
        return valid_value(field)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_INT32:
        return rules_of(field).int32.lte or 1
    if field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return Timestamp(seconds=1_800_000_000 + field.number, nanos=123_456_000)
    return valid_value(field)
