"""Requests that cost most to refuse, made for any request type of the contract from its descriptor."""

from collections.abc import Iterator
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from harness.valid_requests import put, rules_of

Field = FieldDescriptor
MASK, TIMESTAMP, ANY_BODY = "google.protobuf.FieldMask", "google.protobuf.Timestamp", "google.api.HttpBody"
LENGTH_DELIMITED = 2
WIRE_TYPES = {Field.TYPE_STRING: 2, Field.TYPE_BYTES: 2, Field.TYPE_MESSAGE: 2}
UNKNOWN = 1000


def repeated_empty(field: Field, count: int) -> bytes:
    """A message whose list has this many empty elements."""
    return (_key(field.number, WIRE_TYPES.get(field.type, 0)) + b"\0") * count


def hostile_requests(request: Descriptor, size: int) -> Iterator[tuple[str, bytes]]:
    """Each kind of hostile message of a type by name, of at most `size` bytes."""
    unknown, group, end = _key(UNKNOWN, 0) + b"\1", _key(UNKNOWN, 3), _key(UNKNOWN, 4)
    yield "unknown numbers", unknown * (size // len(unknown))
    yield "unknown groups", (group + end) * (size // len(group + end))
    yield "unknown groups in one another", group * (size // 2 // len(group)) + end * (size // 2 // len(end))
    yield "one unknown text", _text(UNKNOWN, b"x" * size, size)
    for field in request.fields:
        empty = repeated_empty(field, 1)
        yield f"{field.name} again and again", empty * (size // len(empty))
        if field.type == Field.TYPE_STRING:
            for name, character in ("letters", b"x"), ("zero bytes", b"\0"), ("no UTF-8", b"\xff"):
                yield f"{field.name} of {name}", _text(field.number, character * size, size)
            yield f"{field.name} of four-byte characters", _text(field.number, "😀".encode() * (size // 4), size, 4)
        if field.is_repeated and field.type not in WIRE_TYPES:
            yield f"{field.name} packed", _text(field.number, b"\x63" * size, size)
            packed = _text(field.number, b"\x63" * 10, 100)
            yield f"{field.name} packed again and again", packed * (size // len(packed))
        if field.message_type is not None:
            yield from _nested(field, field.message_type, size)


def wrong_message(descriptor: Descriptor) -> Message:
    """A message that breaks as many rules as it can, its lists as long as they may be."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        rules = rules_of(field)
        if field.is_repeated:
            put(message, field, [_wrong_value(field, rules.repeated.items)] * rules.repeated.max_items)
        else:
            put(message, field, _wrong_value(field, rules))
    return message


def _nested(field: Field, kind: Descriptor, size: int) -> Iterator[tuple[str, bytes]]:
    """Hostile messages of a field's type: one of full size, and a whole list of smaller ones."""
    for name, content in hostile_requests(kind, size - 10):
        yield f"{field.name}: {name}", _text(field.number, content, size)
    most = rules_of(field).repeated.max_items
    if most:
        for name, content in hostile_requests(kind, size // most - 10):
            yield f"{most} {field.name}: {name}", _text(field.number, content, size) * most


def _wrong_value(field: Field, rules: validate_pb2.FieldRules) -> Any:
    if field.type == Field.TYPE_STRING:
        return " " * (rules.string.max_len + 1)
    if field.type == Field.TYPE_BYTES:
        return b""
    if field.message_type is not None:
        kind = GetMessageClass(field.message_type)
        special: dict[str, dict[str, Any]] = {
            MASK: {"paths": ["wrong"] * 100},
            TIMESTAMP: {"seconds": -1},
            ANY_BODY: {"data": b"x" * 100},
        }
        name = field.message_type.full_name
        return kind(**special[name]) if name in special else wrong_message(field.message_type)
    if field.type == Field.TYPE_BOOL:
        return True
    if field.type == Field.TYPE_BYTES:
        return b""
    return 99 if field.type == Field.TYPE_ENUM else -1


def _text(number: int, content: bytes, size: int, unit: int = 1) -> bytes:
    """A field with as much of the content, in whole units, as leaves the message within its size."""
    available = max(0, size - 10) // unit * unit
    content = content[:available]
    return _key(number, LENGTH_DELIMITED) + _varint(len(content)) + content


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    content.append(value)
    return bytes(content)
