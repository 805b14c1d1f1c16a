"""Requests at and beyond every bound of the contract, made from its rules.

A rule without cases is an error here, so that a new kind of rule cannot stay untried.
"""

import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

from buf.validate import validate_pb2
from google.protobuf import field_mask_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contract.methods import Method
from harness.rpcs import request_class
from harness.valid_requests import MASK, MATCHING, is_required, put, rules_of, valid_element, valid_message
from mesh.rpc.fast_validation import DATE, NOT_BLANK

UNIQUE_ITEMS = 2
COMPANIONS: dict[str, dict[str, Any]] = {
    "recurrence_schedule": {"is_recurring": True},
    "by_set_pos": {"by_month": [1]},
    "when_running": {"start": True},
    "todo_task_id": {"task_title": "Write"},
    "repeat_until_time": {"repeat_type": 2},
}
"""What must be set together with a field for rules about several fields."""

INSTEAD_OF = {"remind_time": "minutes"}
"""What must not be set together with a field."""


class Case(NamedTuple):
    """One request that breaks one rule, or just keeps it."""

    method: Method
    field: str
    """The path of the field that an error must name, such as `tasks[0].title`."""
    what: str
    change: Callable[[Message], None]
    accepted: bool

    @property
    def name(self) -> str:
        """For the list of tests."""
        return f"{self.method.name}-{self.field}-{self.what}"


def cases(method: Method) -> Iterator[Case]:
    """Every case of the RPC."""
    kind = request_class(method).DESCRIPTOR
    for field in kind.fields:
        for path, what, value, accepted in _values(field):
            if what == "the first" and field.name == "end_time" and _is_window(kind):
                continue  # nothing begins before it
            yield Case(method, path, what, _setting(field, value), accepted)
        yield from _nested(method, field)
    for rule in _message_rules(kind):
        yield Case(method, _about(rule), rule.id, BROKEN_RULES[rule.id], False)


_OTHER_EDGE = {"start_time": ("end_time", 1), "end_time": ("start_time", -1)}
"""What a window has for its other edge, and how many seconds later that is: no window is as long as time."""
_LAST_SECOND = 253_402_300_799


def _is_window(kind: Descriptor) -> bool:
    return any("this.end_time - this.start_time" in rule.expression for rule in _message_rules(kind))


class _Missing:
    """Stands for a field that is not set."""


MISSING = _Missing()
_Value = tuple[str, str, Any, bool]


def _setting(field: FieldDescriptor, value: Any) -> Callable[[Message], None]:
    def change(request: Message) -> None:
        if isinstance(value, _Missing):
            request.ClearField(field.name)
            return
        fields = request.DESCRIPTOR.fields_by_name
        if INSTEAD_OF.get(field.name) in fields:
            request.ClearField(INSTEAD_OF[field.name])
        mask = next((each for each in fields.values() if _is_mask(each)), None)
        if mask is not None and field.name in _allowed(mask):
            for path in getattr(request, mask.name).paths:
                request.ClearField(path)
            getattr(request, mask.name).CopyFrom(field_mask_pb2.FieldMask(paths=[field.name]))
        if value not in (0, ""):
            companions = COMPANIONS.get(field.name, {})
            for name in companions.keys() & fields.keys():
                put(request, fields[name], companions[name])
                if mask is not None:
                    getattr(request, mask.name).paths.append(name)
        put(request, field, value)
        if field.name in _OTHER_EDGE and _is_window(request.DESCRIPTOR):
            name, distance = _OTHER_EDGE[field.name]
            put(request, fields[name], Timestamp(seconds=min(max(value.seconds + distance, 0), _LAST_SECOND)))

    return change


def _values(field: FieldDescriptor) -> Iterator[_Value]:
    """Values of one field of a request, with whether they keep its rules."""
    rules = rules_of(field)
    if is_required(field):
        yield field.name, "missing", MISSING, False
    if field.is_repeated:
        yield from _list_values(field, rules.repeated)
    elif _is_mask(field):
        yield from _mask_values(field)
    else:
        for what, value, accepted in _single_values(field, rules):
            yield field.name, what, value, accepted


def _single_values(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Iterator[tuple[str, Any, bool]]:
    if field.type == FieldDescriptor.TYPE_STRING:
        yield from _texts(rules)
    elif field.type == FieldDescriptor.TYPE_INT32:
        yield from _numbers(rules.int32)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        yield from _enum_numbers(field, rules.enum)
    elif field.message_type and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        yield from _instants(rules.timestamp)


def _texts(rules: validate_pb2.FieldRules) -> Iterator[tuple[str, Any, bool]]:
    text = rules.string
    empty_is_absent = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
    if text.email:
        yield "no e-mail address", "nobody", False
        yield "two signs", "a@b@example.org", False
        yield "as long as may be", _address(text.max_len), True
        yield "too long", _address(text.max_len + 1), False
        return
    if text.uuid:
        yield "a UUID", str(uuid.uuid4()), True
        yield "no UUID", "not-a-uuid", False
        yield "too long for a UUID", f"{uuid.uuid4()}0", False
        yield "empty", "", empty_is_absent
        return
    if text.pattern in MATCHING:
        good = MATCHING[text.pattern]
        yield "as it must look", good, True
        yield "a character too many", f"{good}0", False
        yield "a character of another kind", f"{good[:-1]}!", False
        yield "a line end after it", f"{good}\n", False
        yield "empty", "", False
    if text.pattern == DATE:
        yield "a month that is none", "2026-13-01", False
        yield "a day that is none", "2026-01-32", False
    if text.pattern in MATCHING:
        return
    if text.min_len:
        yield "as short as may be", "x" * text.min_len, True
        yield "too short", "x" * (text.min_len - 1), False
    if text.max_len:
        yield "as long as may be", "x" * text.max_len, True
        yield "as long as may be in letters of several bytes", "ü" * text.max_len, True
        yield "too long", "x" * (text.max_len + 1), False
    if text.pattern == NOT_BLANK:
        yield "only white space", " \t ", False
        yield "only white space beyond ASCII", "\u00a0\u3000\u200b", False
    elif text.pattern:
        raise NotImplementedError(f"no cases for the pattern {text.pattern}")


def _address(length: int) -> str:
    """An e-mail address of exactly this length: long labels, a short name."""
    name = f"{uuid.uuid4().hex}@"
    rest = length - len(name) - len(".org")
    labels = []
    while rest > 0:
        take = min(60, rest)
        labels.append("a" * take)
        rest -= take + 1
    domain = ".".join(labels)
    return f"{name}{domain}{'b' * (length - len(name) - len(domain) - 4)}.org"


def _numbers(rules: validate_pb2.Int32Rules) -> Iterator[tuple[str, Any, bool]]:
    for number in rules.not_in:
        yield f"no {number}", number, False
    if rules.HasField("gte"):
        yield "the least", rules.gte, True
        yield "below the least", rules.gte - 1, False
    if rules.HasField("lte"):
        yield "the most", rules.lte, True
        yield "above the most", rules.lte + 1, False
    else:
        yield "the most that fits", 2**31 - 1, True


def _enum_numbers(field: FieldDescriptor, rules: validate_pb2.EnumRules) -> Iterator[tuple[str, Any, bool]]:
    refused = set(rules.not_in)
    for value in field.enum_type.values:
        if value.number or refused:
            yield value.name, value.number, value.number not in refused
    if rules.defined_only:
        yield "undefined", 99, False
        yield "negative", -1, False


def _instants(rules: validate_pb2.TimestampRules) -> Iterator[tuple[str, Any, bool]]:
    yield "the first", Timestamp(seconds=rules.gte.seconds), True
    yield "before the first", Timestamp(seconds=rules.gte.seconds - 1), False
    yield "the last", Timestamp(seconds=rules.lte.seconds), True
    yield "after the last", Timestamp(seconds=rules.lte.seconds + 1), False


def _list_values(field: FieldDescriptor, rules: validate_pb2.RepeatedRules) -> Iterator[_Value]:
    distinct = list(_distinct(field, rules))
    if rules.min_items:
        yield field.name, "too few", distinct[: rules.min_items - 1], False
    yield field.name, "as many as may be", distinct[: rules.max_items], True
    if len(distinct) > rules.max_items:
        yield field.name, "too many", distinct[: rules.max_items + 1], False
    if rules.unique:
        yield field.name, "the same twice", distinct[:1] * UNIQUE_ITEMS, False
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        for what, value, accepted in _single_values(field, rules.items):
            yield f"{field.name}[0]", what, [value], accepted


def _distinct(field: FieldDescriptor, rules: validate_pb2.RepeatedRules) -> Iterator[Any]:
    """One element more than may be, all different where the kind has as many values."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        refused = set(rules.items.enum.not_in)
        yield from (value.number for value in field.enum_type.values if value.number not in refused)
        return
    if field.type == FieldDescriptor.TYPE_INT32:
        numbers = rules.items.int32
        allowed = (each for each in range(numbers.gte, numbers.lte + 1) if each not in numbers.not_in)
        yield from islice(allowed, rules.max_items + 1)
        return
    for _ in range(rules.max_items + 1):
        yield valid_element(field)


def _mask_values(field: FieldDescriptor) -> Iterator[_Value]:
    for path in ("no_such_field", "*", "id", f"{_allowed(field)[0]}.deeper"):
        yield field.name, f"names {path}", field_mask_pb2.FieldMask(paths=[path]), False
    yield field.name, "names nothing", field_mask_pb2.FieldMask(), False


def _nested(method: Method, field: FieldDescriptor) -> Iterator[Case]:
    """Cases of a message within the request; google's own are values, not messages."""
    nested = field.message_type
    if nested is None or nested.full_name.startswith("google."):
        return
    kind = message_factory.GetMessageClass(nested)
    prefix = f"{field.name}[0]" if field.is_repeated else field.name
    inner = [
        (f"{prefix}.{path}", what, _setting(each, value), accepted)
        for each in nested.fields
        if each.name != "request_id"  # of the whole request only, see BROKEN_RULES
        for path, what, value, accepted in _values(each)
    ]
    inner += [(f"{prefix}.{_about(rule)}", rule.id, BROKEN_RULES[rule.id], False) for rule in _message_rules(nested)]
    inner += [(prefix, rule.id, BROKEN_RULES[rule.id], False) for rule in rules_of(field).repeated.items.cel]
    for path, what, change, accepted in inner:
        element = valid_message(kind)
        change(element)
        value = [element] if field.is_repeated else element
        yield Case(method, path, what, _setting(field, deepcopy(value)), accepted)


def _message_rules(kind: Descriptor) -> Iterator[validate_pb2.Rule]:
    yield from kind.GetOptions().Extensions[validate_pb2.message].cel


def _about(rule: validate_pb2.Rule) -> str:
    return rule.id.rpartition(".")[2]


def _is_mask(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == MASK


def _allowed(mask: FieldDescriptor) -> list[str]:
    return list(getattr(rules_of(mask).field_mask, "in"))


def _recurring_without_schedule(request: Any) -> None:
    request.is_recurring = True
    request.ClearField("recurrence_schedule")


def _window(start: str, end: str) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        getattr(request, start).CopyFrom(Timestamp(seconds=1_000))
        getattr(request, end).CopyFrom(Timestamp(seconds=1_000))

    return change


def _request_id_of_its_own(request: Any) -> None:
    request.request_id = str(uuid.uuid4())


def _cleared(name: str) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        request.ClearField(name)
        request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=[name]))

    return change


def _task_without_title(request: Any) -> None:
    request.ClearField("task_title")
    request.todo_task_id = str(uuid.uuid4())


def _making_way_for_what_does_not_start(request: Any) -> None:
    request.start, request.when_running = False, 1


def _neither_of_two(request: Any) -> None:
    request.ClearField("minutes")
    request.ClearField("remind_time")


def _without_draft(request: Any) -> None:
    request.ClearField("draft")
    request.schedule_id = ""


def _without_slot(request: Any) -> None:
    request.scope = 1
    request.ClearField("slot")


def _recurring_twice(request: Any) -> None:
    request.repeat_type = 2
    request.recurrence.frequency = 1


def _until_without_repeating(request: Any) -> None:
    request.repeat_type = 1
    request.repeat_until_time.seconds = 2_000_000_000


def _floating_in_a_zone(request: Any) -> None:
    request.is_floating, request.time_zone = True, "Europe/Zurich"


def _all_with(name: str) -> Callable[[Any], None]:
    """Changes that clear a field of every occurrence."""

    def change(request: Any) -> None:
        request.scope = 3
        request.ClearField("slot")
        _cleared(name)(request.changes)

    return change


def _a_rule_for_one(request: Any) -> None:
    request.scope = 1
    request.changes.ClearField("title")
    request.changes.update_mask.paths[:] = ["time_zone"]
    request.changes.time_zone = "Europe/Zurich"


def _following_without_recurrence(request: Any) -> None:
    request.scope, request.slot = 2, "2027-06-15T09:00:00"
    _cleared("recurrence")(request.changes)


def _never(reminder: Any) -> None:
    reminder.ClearField("offset")
    reminder.ClearField("remind_time")


BROKEN_RULES: dict[str, Callable[[Any], None]] = {
    "create_task.recurrence_schedule": _recurring_without_schedule,
    "batch_create_tasks.request_id": _request_id_of_its_own,
    "list_tasks.due_before": _window("due_from", "due_before"),
    "list_audit_records.recorded_before": _window("recorded_from", "recorded_before"),
    "update_task.title": _cleared("title"),
    "create_focus_session.when_running": _making_way_for_what_does_not_start,
    "update_focus_session.focus_minutes": _cleared("focus_minutes"),
    "update_focus_session.short_break_minutes": _cleared("short_break_minutes"),
    "update_focus_session.long_break_minutes": _cleared("long_break_minutes"),
    "update_focus_session.long_break_interval": _cleared("long_break_interval"),
    "update_focus_session.auto_start_breaks": _cleared("auto_start_breaks"),
    "update_focus_session.auto_start_focus": _cleared("auto_start_focus"),
    "snooze_reminder.remind_time": _neither_of_two,
    "preview_recurrence.draft": _without_draft,
    "update_series.slot": _without_slot,
    "series_changes.title": _cleared("title"),
    "series_changes.start": _cleared("start"),
    "series_changes.recurrence": _cleared("recurrence"),
    "series_changes.time_zone": _cleared("time_zone"),
    "add_manual_session.todo_task_id": _task_without_title,
    "update_archived_session.start_time": _cleared("start_time"),
    "update_archived_session.end_time": _cleared("end_time"),
    "update_session_task.title": _cleared("title"),
    "update_session_task.is_done": _cleared("is_done"),
    "create_event.repeat_type": _recurring_twice,
    "create_event.repeat_until_time": _until_without_repeating,
    "create_event.is_floating": _floating_in_a_zone,
    "update_event.slot": _without_slot,
    "update_event.update_mask": _a_rule_for_one,
    "update_event.title": _all_with("title"),
    "update_event.start": _all_with("start"),
    "update_event.duration_minutes": _all_with("duration_minutes"),
    "update_event.recurrence": _following_without_recurrence,
    "delete_event.slot": _without_slot,
    "event_reminder.offset": _never,
    "list_occurrences.end_time": _window("start_time", "end_time"),
    "find_conflicts.end_time": _window("start_time", "end_time"),
    "find_free_time.end_time": _window("start_time", "end_time"),
    "plan_task.end_time": _window("start_time", "end_time"),
}
"""How to break each rule about several fields. Its id ends with the field that the error names."""

WRONG_JSON: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_STRING: [5, True, {"a": 1}],
    FieldDescriptor.TYPE_BYTES: [5, True, {"a": 1}],
    FieldDescriptor.TYPE_INT32: ["abc", 1.5, 99999999999, {"a": 1}],
    FieldDescriptor.TYPE_BOOL: ["perhaps", 7, {"a": 1}],
    FieldDescriptor.TYPE_ENUM: ["NO_SUCH_NAME", True, {"a": 1}],
}
"""Values of the wrong type, by the type of the field."""
WRONG_JSON_MESSAGES: dict[str, list[Any]] = {
    Timestamp.DESCRIPTOR.full_name: ["yesterday", "2026-02-30T00:00:00Z", 5],
    MASK: [5],
}


def wrong_values(field: FieldDescriptor) -> list[Any]:
    """What JSON may not hold for the field."""
    if field.message_type:
        return WRONG_JSON_MESSAGES.get(field.message_type.full_name, ["text"])
    return WRONG_JSON[field.type]
