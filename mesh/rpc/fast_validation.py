"""Fast validation: recognizes valid messages by a few comparisons, compiled once per message type from its rules.

protovalidate alone decides what is invalid. But almost every request is valid, and in a busy server protovalidate costs
40 µs, a tenth of a whole create (docs/performance.md). A value that is not clearly within its rules is left to
protovalidate, and so is a type with a rule that is not known here: its service says so when it starts, and
`tests/unit/mesh/test_fast_validation.py` lists every such type of the contract.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Check: TypeAlias = Callable[[Any], bool]
"""Whether a message, or the value of a field, is certainly valid; False leaves the decision to protovalidate."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""In lower case, as `mesh/rpc/values.py` writes every other one."""
NOT_BLANK = "[^\\t-\\r \u0085\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
"""Pattern of the contract for a text that shows something: neither Unicode's white space nor what has no width."""
DATE = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
"""Pattern of the contract for a date, such as `2026-06-15`; whether the month has the day is for the handler to say."""
SLOT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2})?$"
"""Pattern of the contract for a local time or a date."""
OCCURRENCE_ID = "^[0-9a-fA-F-]{36}_[0-9]{8}(T[0-9]{6})?$"
"""Pattern of the contract for an occurrence of the calendar: its event and its slot."""
_VISIBLE = re.compile(NOT_BLANK)
_WHOLE = {pattern: re.compile(pattern[1:-1].replace("A-F", "")) for pattern in (DATE, SLOT, OCCURRENCE_ID)}
"""Patterns that a text has to match from its first to its last character, UUIDs in lower case."""
_ABSENT = re.compile(r"!has\(this\.(\w+)\)")
_TOGETHER = re.compile(r"(?:has\(this\.\w+\) \|\| )?this\.(\w+) == \(this\.(\w+) != 0\)")
"""Where the second operand of || holds, the first need not be looked at."""
_LAST = re.compile(r"this\.\w+ [<>=!]=? (this\.\w+|[0-9]+)|!this\.\w+|\([^|?]+\)")
"""Expressions that bind tighter than the || before them."""
_WINDOW = re.compile(
    r"this\.(\w+) > this\.(\w+) && int\(this\.\1\) - int\(this\.\2\) <= ([0-9]+)"
    r" && this\.\1 - this\.\2 <= duration\('\3s'\)"
)
"""A window between two instants, and its greatest length. Seconds are compared first: instants that are more than 292
years apart have no duration."""
TIMESTAMP = "google.protobuf.Timestamp"
SECOND_NANOS = 1_000_000_000
_FREE_OF_RULES = frozenset({TIMESTAMP, "google.protobuf.FieldMask", "google.api.HttpBody"})
_INFINITE = float("inf")


class UnknownRuleError(Exception):
    """A rule that only protovalidate understands; the text names it and its field."""


def fast_validation(descriptor: Descriptor) -> Check:
    """The check for messages of a type. Raises UnknownRuleError when protovalidate has to look at every one of them."""
    checks = [*_of_message(descriptor), *(check for field in descriptor.fields for check in _of_field(field))]

    def every(message: Any) -> bool:
        for check in checks:  # noqa: SIM110 (all() makes a generator for every request)
            if not check(message):
                return False
        return True

    return every


def _of_message(descriptor: Descriptor) -> Iterator[Check]:
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().HasExtension(validate_pb2.oneof):
            raise UnknownRuleError(f"{oneof.name}: oneof.required")
    rules = descriptor.GetOptions().Extensions[validate_pb2.message]
    _only(rules, {"cel"}, "message.")
    for rule in rules.cel:
        yield _of_expression(descriptor, rule.expression)


def _of_expression(descriptor: Descriptor, text: str) -> Check:
    """Handles three forms of CEL: a flag that says whether another field is set, a window of instants that must both be
    given, and what optional fields have to keep when they are there."""
    if found := _TOGETHER.fullmatch(text):
        flag, value = found.groups()
        return lambda message: getattr(message, flag) == (getattr(message, value) != 0)
    if found := _WINDOW.fullmatch(text):
        end, begin, most = found[1], found[2], int(found[3])
        return lambda message: 0 < getattr(message, end).seconds - getattr(message, begin).seconds < most
    *absent, last = text.split(" || ")
    names = [found[1] for operand in absent if (found := _ABSENT.fullmatch(operand))]
    # An absent field settles the rule only when it is a top-level operand of ||.
    if not names or len(names) < len(absent) or not _LAST.fullmatch(last):
        raise UnknownRuleError(f"message.cel: {text}")
    if not all(field.has_presence for field in map(descriptor.fields_by_name.__getitem__, names)):
        raise UnknownRuleError(f"message.cel: {text}")
    return lambda message: not all(map(message.HasField, names))


def _of_field(field: FieldDescriptor) -> Iterator[Check]:
    rules, name = field.GetOptions().Extensions[validate_pb2.field], field.name
    if field.message_type is not None and field.message_type.full_name not in _FREE_OF_RULES:
        if not field.is_repeated:
            if rules.ListFields():
                raise UnknownRuleError(f"{name}: the rules of {field.message_type.name}")
            yield lambda message: not message.HasField(name)  # protovalidate decides it when it is there
            return
    elif not rules.ListFields() and not _is_instant(field):
        return
    if field.is_repeated:
        _only(rules, {"repeated"}, f"{name}: ")
        _only(rules.repeated, {"max_items", "unique", "items"}, f"{name}: repeated.")
        yield lambda message: not getattr(message, name)  # protovalidate decides all but empty lists
        return
    valid = _of_value(field, rules)
    if field.has_presence and rules.required:
        yield lambda message: message.HasField(name) and valid(getattr(message, name))
    elif field.has_presence:
        yield lambda message: not message.HasField(name) or valid(getattr(message, name))
    elif rules.required:
        yield lambda message: bool(value := getattr(message, name)) and valid(value)
    elif rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        yield lambda message: not (value := getattr(message, name)) or valid(value)
    else:
        yield lambda message: valid(getattr(message, name))


def _of_value(field: FieldDescriptor, rules: Any) -> Check:
    kind = rules.WhichOneof("type")
    _only(rules, {kind, "required", "ignore"}, f"{field.name}: ")
    if rules.ignore not in (validate_pb2.IGNORE_UNSPECIFIED, validate_pb2.IGNORE_IF_ZERO_VALUE):
        raise UnknownRuleError(f"{field.name}: ignore")
    if kind is None:
        return _nanos_valid if _is_instant(field) else lambda _value: True
    if kind not in _KINDS:
        raise UnknownRuleError(f"{field.name}: {kind}")
    return _KINDS[kind](field, getattr(rules, kind))


def _string(field: FieldDescriptor, rules: Any) -> Check:
    _only(rules, {"min_len", "max_len", "uuid", "pattern"}, f"{field.name}: string.")
    if rules.uuid:
        _only(rules, {"uuid"}, f"{field.name}: string.uuid and ")
        return lambda value: _UUID.fullmatch(value) is not None
    least, most = rules.min_len, rules.max_len if rules.HasField("max_len") else _INFINITE
    if not rules.HasField("pattern"):
        return lambda value: least <= len(value) <= most
    if whole := _WHOLE.get(rules.pattern):
        return lambda value: least <= len(value) <= most and whole.fullmatch(value) is not None
    if rules.pattern != NOT_BLANK:
        raise UnknownRuleError(f"{field.name}: string.pattern {rules.pattern}")
    return lambda value: least <= len(value) <= most and _VISIBLE.search(value) is not None


def _int32(field: FieldDescriptor, rules: Any) -> Check:
    _only(rules, {"gte", "lte"}, f"{field.name}: int32.")
    least = rules.gte if rules.HasField("gte") else -_INFINITE
    most = rules.lte if rules.HasField("lte") else _INFINITE
    return lambda value: least <= value <= most


def _enum(field: FieldDescriptor, rules: Any) -> Check:
    _only(rules, {"defined_only", "not_in"}, f"{field.name}: enum.")
    known = frozenset(field.enum_type.values_by_number if field.enum_type else ()) - set(rules.not_in)
    return lambda value: value in known


def _timestamp(field: FieldDescriptor, rules: Any) -> Check:
    _only(rules, {"gte", "lte"}, f"{field.name}: timestamp.")
    if not (rules.HasField("gte") and rules.HasField("lte")) or rules.gte.nanos:
        raise UnknownRuleError(f"{field.name}: timestamp without two bounds in whole seconds")
    first, end = rules.gte.seconds, rules.lte.seconds
    return lambda value: first <= value.seconds < end and _nanos_valid(value)


def _is_instant(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == TIMESTAMP


def _nanos_valid(value: Any) -> bool:
    return 0 <= value.nanos < SECOND_NANOS  # type: ignore[no-any-return]


_KINDS: dict[str, Callable[[FieldDescriptor, Any], Check]] = {
    "string": _string,
    "int32": _int32,
    "enum": _enum,
    "timestamp": _timestamp,
}


def _only(rules: Message, known: set[str], prefix: str) -> None:
    """Raises UnknownRuleError when a rule is set that is not among the known ones. prefix: of its name."""
    for field, _ in rules.ListFields():
        if field.name not in known:
            raise UnknownRuleError(f"{prefix}{field.name}")
