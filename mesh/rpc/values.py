"""Values that can be written in several ways get one: UUIDs are compared as values, so they become lower case.

protovalidate compares what was sent: an id that comes twice, in two cases, where it may come once, is refused here. So
is an instant whose nanoseconds are none: it takes it for another instant, of the next second or the one before.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.rpc.fast_validation import OCCURRENCE_ID, SECOND_NANOS, TIMESTAMP
from mesh.runtime.errors import FieldViolation

_UUID_LENGTH = 36
_Normalize: TypeAlias = Callable[[Any, str], Iterator[FieldViolation]]
"""Of a message with its path, such as `tasks[1].`."""


def normalizer(descriptor: Descriptor, most: int) -> Callable[[Any], list[FieldViolation]]:
    """Returns what normalizes a valid message in place, and returns up to `most` violations."""
    normalize = _of_message(descriptor)
    return lambda message: list(islice(normalize(message, ""), most))


def _of_message(descriptor: Descriptor) -> _Normalize:
    if descriptor.full_name == TIMESTAMP:
        return _instant
    parts = [part for field in descriptor.fields if (part := _of_field(field)) is not None]

    def normalize(message: Any, path: str) -> Iterator[FieldViolation]:
        for part in parts:
            yield from part(message, path)

    return normalize


def _of_field(field: FieldDescriptor) -> _Normalize | None:
    if field.message_type is not None:
        return None if field.message_type.GetOptions().map_entry else _of_messages(field, field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING and _is_uuid(field):
        return _of_uuids(field)
    return None


def _of_messages(field: FieldDescriptor, kind: Descriptor) -> _Normalize:
    name, normalize = field.name, _of_message(kind)

    def one(message: Any, path: str) -> Iterator[FieldViolation]:
        if message.HasField(name):
            yield from normalize(getattr(message, name), f"{path}{name}.")

    def each(message: Any, path: str) -> Iterator[FieldViolation]:
        for index, element in enumerate(getattr(message, name)):
            yield from normalize(element, f"{path}{name}[{index}].")

    return each if field.is_repeated else one


def _of_uuids(field: FieldDescriptor) -> _Normalize:
    name, is_unique = field.name, _rules(field).repeated.unique

    def one(message: Any, _path: str) -> Iterator[FieldViolation]:
        value = getattr(message, name)
        if (lower := _lower(value)) != value:
            setattr(message, name, lower)
        yield from ()

    def each(message: Any, path: str) -> Iterator[FieldViolation]:
        values = getattr(message, name)
        values[:] = map(_lower, values)
        if is_unique and len(set(values)) < len(values):
            yield FieldViolation(f"{path}{name}", "repeated value must contain unique items", "repeated.unique")

    return each if field.is_repeated else one


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def _is_uuid(field: FieldDescriptor) -> bool:
    rules = _rules(field)
    text = (rules.repeated.items if field.is_repeated else rules).string
    return text.uuid or text.pattern == OCCURRENCE_ID


def _lower(value: str) -> str:
    """The same UUID, with what follows it in the id of an occurrence."""
    return value[:_UUID_LENGTH].lower() + value[_UUID_LENGTH:]


def _instant(message: Any, path: str) -> Iterator[FieldViolation]:
    if not 0 <= message.nanos < SECOND_NANOS:
        description = f"must have nanos from 0 to {SECOND_NANOS - 1}"
        yield FieldViolation(path[:-1], description, "timestamp.nanos")
