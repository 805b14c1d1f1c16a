"""The smallest request that keeps every rule of the contract, made from the rules themselves."""

import uuid
from collections.abc import Mapping
from itertools import count
from typing import Any, cast

from buf.validate import validate_pb2
from focusmesh.recurrence.v1.schedule_service_pb2 import RecurrenceDraft
from focusmesh.type.v1.recurrence_pb2 import FREQUENCY_DAILY, Recurrence
from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contract.methods import Method
from harness.rpcs import request_class
from mesh.rpc.fast_validation import DATE, OCCURRENCE_ID, SLOT

MASK = "google.protobuf.FieldMask"
MATCHING = {
    DATE: "2026-06-15",
    r"^\+[1-9][0-9]{6,14}$": "+491511234567890",
    "^[0-9]{6}$": "123456",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{6})?)?$": "2026-06-15",
    SLOT: "2027-06-15T09:00:00",
    OCCURRENCE_ID: f"{uuid.uuid4()}_20270615T090000",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "09:00",
    "^(-?P[0-9A-Z]+)?$": "-PT10M",
    "^[A-Za-z0-9_-]{87}=?$": "BOQsqSqxVMFsfwT7hRrYIqN9epxO3KWfCLZWPwRXECKjEgcAhkxfD3biUDeCHUM4ORLbaXlEg6639-xta2506bE",
    "^[A-Za-z0-9_-]{22}(==)?$": "8eDyX_uCN0XRhSbY5hs7Hg",
}
"""A text for each pattern of the contract, but those that any text with something visible matches."""

CALENDAR_FILE = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//focusmesh//tests//EN\r\nEND:VCALENDAR\r\n"
"""The only bytes of the contract."""
_ALWAYS: dict[int, bool | bytes] = {FieldDescriptor.TYPE_BOOL: False, FieldDescriptor.TYPE_BYTES: CALENDAR_FILE}
_DAY_AFTER = Timestamp(seconds=86_400)

_NUMBERS = count(1)

ONE_OF_TWO: dict[str, tuple[Any, ...]] = {
    "list_occurrences.end_time": ("end_time", _DAY_AFTER),
    "find_conflicts.end_time": ("end_time", _DAY_AFTER),
    "find_free_time.end_time": ("end_time", _DAY_AFTER),
    "update_event.slot": ("slot", "2027-06-15T09:00:00"),
    "event_reminder.offset": ("offset", lambda: f"-PT{next(_NUMBERS)}M", "remind_time"),
    "snooze_reminder.remind_time": ("minutes", 10),
    "update_series.slot": ("slot", "2026-03-29"),
    "preview_recurrence.draft": (
        "draft",
        RecurrenceDraft(recurrence=Recurrence(frequency=FREQUENCY_DAILY), time_zone="UTC", start="2026-06-15"),
        "schedule_id",
    ),
}
"""Of rules that want one of two fields: which one a request has, its value or what makes another one each time, and the
other that it may have instead.

The end of a window is the day after its beginning, 1970 unless that is given.
"""


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """What the contract says about a field's value."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request is refused without the field."""
    behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behavior or rules_of(field).required


def valid_request(method: Method, given: Mapping[str, Any] | None = None) -> Message:
    """A request that no rule refuses. given: fields whose values must exist or belong together, by name."""
    return valid_message(request_class(method), given or {})


def valid_message(kind: type[Message], given: Mapping[str, Any] | None = None) -> Message:
    """The same for any message."""
    message, descriptor = kind(), cast(Descriptor, kind.DESCRIPTOR)
    for field in descriptor.fields:
        if given and field.name in given:
            put(message, field, given[field.name])
        elif is_required(field):
            put(message, field, valid_value(field))
    for rule in descriptor.GetOptions().Extensions[validate_pb2.message].cel:
        name, value, *other = ONE_OF_TWO.get(rule.id, ("", None))
        if name and not any((given or {}).get(each) for each in (name, *other)):
            put(message, descriptor.fields_by_name[name], value() if callable(value) else value)
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required and message.WhichOneof(oneof.name) is None:
            put(message, oneof.fields[0], valid_value(oneof.fields[0]))
    for field in descriptor.fields:
        if field.message_type and field.message_type.full_name == MASK:
            _fill_mask(message, field)
    return message


def valid_value(field: FieldDescriptor) -> Any:
    """A value that keeps the field's rules."""
    element = valid_element(field)
    return [element] if field.is_repeated else element


def valid_element(field: FieldDescriptor) -> Any:
    """A value of a single field, or of one element of a list."""
    rules = rules_of(field).repeated.items if field.is_repeated else rules_of(field)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(rules.string)
    if field.message_type is not None:
        kind = message_factory.GetMessageClass(field.message_type)
        if kind.DESCRIPTOR.full_name == MASK:
            return kind(paths=[getattr(rules_of(field).field_mask, "in")[0]])
        return valid_message(kind)
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    if field.type in _ALWAYS:
        return _ALWAYS[field.type]
    least = max(rules.int32.gte, 0)
    return least + (least in rules.int32.not_in)


def put(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Sets a field of any kind."""
    if field.is_repeated:
        message.ClearField(field.name)
        getattr(message, field.name).extend(value)
    elif field.message_type:
        getattr(message, field.name).CopyFrom(value)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, value)


def _text(rules: validate_pb2.StringRules) -> str:
    if rules.uuid:
        return str(uuid.uuid4())
    if rules.email:
        return f"{uuid.uuid4()}@example.org"
    if rules.pattern in MATCHING:
        return MATCHING[rules.pattern]
    # Another one each time: a service may want names to be unique.
    return uuid.uuid4().hex.ljust(rules.min_len, "x")[: rules.max_len or None]


def _fill_mask(message: Message, mask: FieldDescriptor) -> None:
    """Sets what the mask names: a field that is named and not set would be cleared."""
    for path in getattr(message, mask.name).paths:
        named = cast(Descriptor, message.DESCRIPTOR).fields_by_name.get(path)
        if named is not None and not message.HasField(path):
            put(message, named, valid_value(named))
