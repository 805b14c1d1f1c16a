"""The largest and most awkward requests that the rules of the contract allow, made from the rules themselves."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from buf.validate import validate_pb2
from focusmesh.calendar.v1.event_service_pb2 import EVENT_SCOPE_ALL
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contract.methods import Method
from harness.rpcs import request_class
from harness.valid_requests import (
    MASK,
    is_required,
    put,
    rules_of,
    valid_element,
    valid_message,
    valid_request,
    valid_value,
)
from mesh.rpc import validation
from mesh.rpc.limits import LARGEST_REQUEST
from mesh.runtime.errors import InvalidRequest
from services.calendar.rules.ical.content import MOST_BYTES

FILLERS = {
    "letters": "x",
    "quotes": '"',
    "backslashes": "\\",
    "line ends": "\n",
    "controls": "\x01",
    "four-byte characters": "😀",
    "combining characters": "e\u0301\u0323",
}
"""What fills texts: it is escaped or expands in JSON, in SQL, in arrays of Postgres and where text is normalised."""
_REQUEST_ID = "request_id"
_TRIES = 5
_MOST_EVENTS = 4_990
_WELL_KNOWN = "google."
_WINDOW_STARTS = 1_793_491_200
"""2026-11-01."""
_WINDOW_DAYS = {"list_occurrences.end_time": 366, "find_conflicts.end_time": 62, "find_free_time.end_time": 62}
"""How long windows may be, by their rule."""
_ALL_TOGETHER: dict[str, dict[str, int | None]] = {
    "update_event.update_mask": {"scope": EVENT_SCOPE_ALL, "slot": None},
    "preview_recurrence.draft": {"schedule_id": None},
    "event_reminder.offset": {"offset": None},
}
"""Of rules about several fields: which value lets a message have all of the others, even when another one is given;
None for no value."""
_INDEX = re.compile(r"\[\d+\]")
_UNIQUE = re.compile(r"this\.map\((\w+), \1\.(\w+)\)\.unique\(\)")
"""A rule that the elements of a list have different values in a field."""


def awkward_requests(method: Method, given: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    """Each kind of request by name; none breaks a rule. given: values that must exist or belong together, by field.

    All fields at once, as full as they may be, of each filler; then each field that can be large alone, because rules
    of the service may forbid that fields come together.
    """
    for name, filler in FILLERS.items():
        yield f"full of {name}", _allowed(method, _full(request_class(method), filler, given), given)
    for field in cast(Descriptor, request_class(method).DESCRIPTOR).fields:
        if field.name not in given and _can_be_large(field):
            for name in FILLERS if _excludes_others(field) else ["line ends"]:
                request = valid_request(method, given)
                put(request, field, _full_value(field, FILLERS[name]))
                yield f"{field.name} full of {name}", _allowed(method, request, given)
            if field.is_repeated:
                put(request, field, _elements(field, [valid_element(field)]))
                yield f"{field.name} of the smallest elements", _allowed(method, request, given)


def _can_be_large(field: FieldDescriptor) -> bool:
    text = rules_of(field).string
    return field.is_repeated or field.message_type is not None or text.max_len > 100 or field.type == field.TYPE_BYTES


def _excludes_others(field: FieldDescriptor) -> bool:
    """Whether it is one of several of which a message has one: full of everything, only the last of them is there."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _full(kind: type[Message], filler: str, given: Mapping[str, Any]) -> Message:
    """A message with every field as full as its own rules allow."""
    message, descriptor = kind(), cast(Descriptor, kind.DESCRIPTOR)
    for field in descriptor.fields:
        if field.name == _REQUEST_ID:
            continue
        put(message, field, given[field.name] if field.name in given else _full_value(field, filler))
    rules = descriptor.GetOptions().Extensions[validate_pb2.message].cel
    for rule in rules:
        for name, value in _ALL_TOGETHER.get(rule.id, {}).items():
            message.ClearField(name)
            if value is not None:
                setattr(message, name, value)
    if {"start_time", "end_time"} <= descriptor.fields_by_name.keys() - given.keys():
        days = next((_WINDOW_DAYS[rule.id] for rule in rules if rule.id in _WINDOW_DAYS), 1)
        for name, seconds in ("start_time", _WINDOW_STARTS), ("end_time", _WINDOW_STARTS + days * 86_400):
            put(message, descriptor.fields_by_name[name], Timestamp(seconds=seconds))
    return message


def _full_value(field: FieldDescriptor, filler: str) -> Any:
    if field.is_repeated:
        return _elements(field, [_full_element(field, rules_of(field).repeated.items, filler)])
    return _full_element(field, rules_of(field), filler)


def _elements(field: FieldDescriptor, element: list[Any]) -> list[Any]:
    """As many as may be; different ones where they must be."""
    rules = rules_of(field).repeated
    if not rules.unique:
        elements = element * rules.max_items
        return _numbered(elements, found[2]) if (found := _unique(field)) else elements
    if field.enum_type is not None:
        refused = set(rules.items.enum.not_in)
        return [each.number for each in field.enum_type.values if each.number not in refused][: rules.max_items]
    if field.type == FieldDescriptor.TYPE_INT32:
        numbers = rules.items.int32
        return [each for each in range(numbers.gte, numbers.lte + 1) if each not in numbers.not_in][: rules.max_items]
    return [valid_element(field) for _ in range(rules.max_items)]


def _unique(field: FieldDescriptor) -> re.Match[str] | None:
    return next((found for rule in rules_of(field).cel if (found := _UNIQUE.search(rule.expression))), None)


def _numbered(elements: Sequence[Any], name: str) -> list[Any]:
    """Copies whose text of this name differs, and is as long as before."""
    numbered = [type(element).FromString(element.SerializeToString()) for element in elements]
    for number, element in enumerate(numbered):
        begins = f"{number:03}"
        setattr(element, name, begins + getattr(element, name)[len(begins) :])
    return numbered


def _full_element(field: FieldDescriptor, rules: validate_pb2.FieldRules, filler: str) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _full_text(field, rules.string, filler)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _calendar_file(filler)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_INT32:
        return rules.int32.lte if rules.int32.HasField("lte") else 2**31 - 1
    return valid_element(field) if field.message_type is None else _full_message(field, rules, filler)


def _full_message(field: FieldDescriptor, rules: validate_pb2.FieldRules, filler: str) -> Any:
    kind = message_factory.GetMessageClass(cast(Descriptor, field.message_type))
    name = kind.DESCRIPTOR.full_name
    if name == MASK:
        return kind(paths=getattr(rules_of(field).field_mask, "in"))
    if name == Timestamp.DESCRIPTOR.full_name:
        return Timestamp(seconds=rules.timestamp.lte.seconds)
    return valid_element(field) if name.startswith(_WELL_KNOWN) else _full(kind, filler, {})


def _full_text(field: FieldDescriptor, rules: validate_pb2.StringRules, filler: str) -> str:
    if rules.email:
        name, _, host = str(valid_element(field)).partition("@")
        label = "x" * 63 + "."
        return f"{name}@{label * ((rules.max_len - len(name) - 1 - len(host)) // len(label))}{host}"
    if rules.uuid or (rules.pattern and rules.max_len <= 100):
        return str(valid_element(field))
    text = (filler * rules.max_len)[: rules.max_len - 1]
    return f"x{text}"  # something visible


def _calendar_file(filler: str) -> bytes:
    """The only bytes of the contract: a calendar as large as may be, of daily events whose texts are full."""
    text = (filler * 1000)[:1000].replace("\\", "\\\\").replace("\n", "\\n").replace("\x01", "\\,")
    event = (
        "BEGIN:VEVENT\r\nUID:%d@example.org\r\nDTSTART;TZID=Europe/Berlin:20260601T080000\r\nRRULE:FREQ=DAILY\r\n"
        f"SUMMARY:x{text[:200]}\r\nDESCRIPTION:{text}\r\nEND:VEVENT\r\n"
    )
    most = (MOST_BYTES - 1000) // (len(event.encode()) + 4)
    events = "".join(event.replace("%d", str(number)) for number in range(min(most, _MOST_EVENTS)))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n".encode()


def _allowed(method: Method, request: Message, given: Mapping[str, Any]) -> Message:
    """The request without what a rule refuses: fields that may not come together, texts that must have a form.

    First such fields get a valid value, then none, and in the end the request is the smallest one.
    """
    _fit(request, largest_request(method))
    for mend in (_make_valid,) * _TRIES + (_leave_out,) * _TRIES + (_start_again,):
        try:
            validation.check(request)
            return request
        except InvalidRequest as error:
            for path in {_INDEX.sub("", violation.field) for violation in error.fields}:
                _at([request], path.split("."), mend, given)
    validation.check(request)
    return request


def largest_request(method: Method) -> int:
    """Bytes of the largest request that the RPC takes."""
    return method.largest_request_kib * 1024 or LARGEST_REQUEST


def _fit(request: Message, most_bytes: int) -> None:
    """Takes elements from the lists of a request until it is small enough."""
    lists = [field.name for field in cast(Descriptor, request.DESCRIPTOR).fields if field.is_repeated]
    while (size := request.ByteSize()) > most_bytes:
        for name in lists:
            elements = getattr(request, name)
            del elements[min(len(elements) - 1, len(elements) * most_bytes // size) :]


_Mend = Callable[[Message, FieldDescriptor | None, Mapping[str, Any]], None]


def _at(messages: Sequence[Message], path: Sequence[str], mend: _Mend, given: Mapping[str, Any]) -> None:
    """Mends what a path names, in each of these messages of one type."""
    name, *rest = path
    field = cast(Descriptor, messages[0].DESCRIPTOR).fields_by_name.get(name) if messages else None
    kind = field.message_type if field is not None else None
    if field is not None and kind is not None and rest and not kind.full_name.startswith(_WELL_KNOWN):
        inner = [getattr(message, name) for message in messages]
        _at([each for some in inner for each in some] if field.is_repeated else inner, rest, mend, {})
    else:
        for message in messages:
            mend(message, field, given)


def _make_valid(message: Message, field: FieldDescriptor | None, given: Mapping[str, Any]) -> None:
    if field is None:  # a rule about several fields
        _start_again(message, field, given)
    else:
        put(message, field, given[field.name] if field.name in given else valid_value(field))


def _leave_out(message: Message, field: FieldDescriptor | None, given: Mapping[str, Any]) -> None:
    if field is None or is_required(field) or field.name in given:
        _make_valid(message, field, given)
        return
    message.ClearField(field.name)
    for mask in cast(Descriptor, message.DESCRIPTOR).fields:
        if mask.message_type is not None and mask.message_type.full_name == MASK:
            paths = getattr(message, mask.name).paths
            paths[:] = [path for path in paths if path != field.name]


def _start_again(message: Message, _field: FieldDescriptor | None, given: Mapping[str, Any]) -> None:
    message.CopyFrom(valid_message(type(message), given))
