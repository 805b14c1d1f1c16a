"""Limits of a request's bytes, derived from the rules of its contract and checked before the bytes are parsed.

All callers share the event loop, and each element of a request costs time and memory in parsing and validation: 1 MiB
holds 500,000 empty ones. The most that a valid request can contain is known when the service starts.
"""

from collections.abc import Iterator
from typing import NamedTuple

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.runtime.errors import FieldViolation, InvalidRequest

LARGEST_REQUEST = 1024 * 1024
"""Bytes, unless the policy of an RPC says more. The only limit of a type whose texts have none."""
_UNKNOWN_BYTES, _UNKNOWN_FIELDS = 4096, 64
"""Allowed in a message beside the fields of its contract, for clients of a newer contract."""
_UNKNOWN_FIELDS_IN_ALL = 10_000
"""The same in a request with all its elements: some 5 ms. Thousands of elements cannot each have as many as one may."""
_UTF8, _VARINT, _KEY_AND_LENGTH, _UUID = 4, 10, 10, 36
"""Bytes, at most: of a character, of a number or an enum value, before a value, of a UUID."""
_FIELD_MASK, _ANY_BODY = "google.protobuf.FieldMask", "google.api.HttpBody"
_ANY_BODY_BYTES = 4096
"""Of a body that is no JSON of ours, such as a form: so small that its elements need no bound, nor how often it comes:
the gateway sends its type and its content as two values of the field."""
_NUMBER, _LENGTH_DELIMITED = 0, 2
"""Wire types."""
_FIXED_SIZES = {1: 8, 5: 4}
_NEVER_PACKED = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)


class UnboundedRequestError(Exception):
    """The number of elements or the depth of a request type has no bound: its service must not start."""


class _Occurrences(NamedTuple):
    """How often a field may occur: a list as often as `max_items` says, a single message once."""

    name: str
    most: int
    is_list: bool
    packable: bool


class RequestLimits:
    """The size of the largest message of one type, and how many fields and elements it has at most."""

    def __init__(
        self, descriptor: Descriptor, parents: tuple[Descriptor, ...] = (), largest: int = LARGEST_REQUEST
    ) -> None:
        """parents: the types that contain this one. largest: bytes of the request. Raises UnboundedRequestError."""
        if descriptor in parents:
            raise UnboundedRequestError(f"{descriptor.full_name} contains itself")
        self._occurrences: dict[int, _Occurrences] = {}
        self._messages: dict[int, RequestLimits] = {}
        self._largest = largest
        self._content_bytes = sum(self._add(field, (*parents, descriptor)) for field in descriptor.fields)
        self.most_bytes = min(self._content_bytes + _UNKNOWN_BYTES, largest)
        lists = sum(each.most for each in self._occurrences.values() if each.is_list)
        self._most_fields = len(descriptor.fields) + lists + _UNKNOWN_FIELDS
        self._most_in_all = self._most_fields - _UNKNOWN_FIELDS
        for number, nested in self._messages.items():
            self._most_in_all += self._occurrences[number].most * nested._most_in_all

    def check_size(self, content: bytes) -> None:
        """Raises InvalidRequest when the content is larger than any valid message."""
        if len(content) > self.most_bytes:
            raise _invalid("request", f"must have no more than {self.most_bytes} bytes, has {len(content)}", "bytes")

    def check_counts(self, content: bytes) -> None:
        """Raises InvalidRequest when a message has more fields, or a list more elements, than a valid one.

        Stops at the first field too many; bytes that are no message are left to the parser.
        """
        try:
            self._check(content, 0, len(content), "", [self._most_in_all + _UNKNOWN_FIELDS_IN_ALL])
        except IndexError:
            return

    def _add(self, field: FieldDescriptor, parents: tuple[Descriptor, ...]) -> int:
        """The bytes of the field's values, at most; keeps how often it may occur."""
        if field.message_type is not None and field.message_type.full_name == _ANY_BODY:
            return _KEY_AND_LENGTH + _ANY_BODY_BYTES
        rules, most = field.GetOptions().Extensions[validate_pb2.field], 1
        if field.is_repeated:
            most = rules.map.max_pairs or rules.repeated.max_items
            if not most:
                raise UnboundedRequestError(f"{field.full_name} has no max_items")
            rules = rules.repeated.items
        if field.is_repeated or field.message_type is not None:
            self._occurrences[field.number] = _Occurrences(
                field.name, most, field.is_repeated, field.type not in _NEVER_PACKED
            )
        if field.message_type is None:
            return most * (_KEY_AND_LENGTH + _largest_value(field, rules))
        if field.message_type.full_name == _FIELD_MASK:
            return most * (_KEY_AND_LENGTH + _largest_mask(field, rules))
        limits = self._messages[field.number] = RequestLimits(field.message_type, parents, self._largest)
        return most * (_KEY_AND_LENGTH + limits._content_bytes)

    def _check(self, content: bytes, start: int, end: int, path: str, left: list[int]) -> None:
        """Checks the message between two positions. path: of the message, such as `tasks[1].`.

        left: how many fields the rest of the request may have, in a list of one so that all messages count down.
        """
        if end - start > self.most_bytes:
            raise _invalid(path[:-1] or "request", f"must have no more than {self.most_bytes} bytes", "bytes")
        counts = dict.fromkeys(self._occurrences, 0)
        for index, (number, wire_type, at, size) in enumerate(_fields(content, start, end)):
            left[0] -= 1
            if index == self._most_fields:
                raise _invalid(path[:-1] or "request", f"must have no more than {self._most_fields} fields", "fields")
            if left[0] < 0:
                raise _invalid("request", "has more fields than any valid request", "fields")
            if number not in counts:
                continue
            field, before = self._occurrences[number], counts[number]
            # A packed element has at most ten bytes; validation counts those of an accepted list exactly.
            packed = field.packable and wire_type == _LENGTH_DELIMITED
            counts[number] += -(-size // _VARINT) if packed else 1
            if counts[number] > field.most:
                description = f"must contain no more than {field.most} item(s)"
                raise _invalid(f"{path}{field.name}", description, "repeated.max_items")
            if number in self._messages:
                element = f"{path}{field.name}[{before}]." if field.is_list else f"{path}{field.name}."
                self._messages[number]._check(content, at, at + size, element, left)


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, position and size of each value; IndexError when the last one is cut off."""
    while at < end:
        key, at = _varint(content, at)
        wire_type = key & 7
        if wire_type == _LENGTH_DELIMITED:
            size, at = _varint(content, at)
        elif wire_type == _NUMBER:
            size = _varint(content, at)[1] - at
        else:
            size = _FIXED_SIZES.get(wire_type, 0)
        yield key >> 3, wire_type, at, size
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    value = shift = 0
    while (byte := content[at]) > 127:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
    return value | byte << shift, at + 1


def _largest_value(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> int:
    """Bytes of a value that is no message; LARGEST_REQUEST when its rules do not bound it."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return _largest_text(rules.string)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rules.bytes.len or rules.bytes.max_len or LARGEST_REQUEST
    return _VARINT


def _largest_text(rules: validate_pb2.StringRules) -> int:
    if rules.uuid:
        return _UUID
    bytes_ = rules.len_bytes or rules.max_bytes
    return bytes_ or _UTF8 * (rules.len or rules.max_len) or LARGEST_REQUEST


def _largest_mask(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> int:
    """Bytes of a mask that names each of its paths once."""
    paths = getattr(rules.field_mask, "in")
    if not paths:
        raise UnboundedRequestError(f"{field.full_name} does not say which paths it may name")
    return sum(_KEY_AND_LENGTH + len(path) for path in paths)


def _invalid(field: str, description: str, rule: str) -> InvalidRequest:
    return InvalidRequest(fields=[FieldViolation(field, description, rule)], summary=f"{field}: {description}")
