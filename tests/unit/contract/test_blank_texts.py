"""A text that has to show something: what is blank, in every script, is refused wherever the contract says so."""

import unicodedata
from collections.abc import Iterator

import protovalidate
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from harness.rpcs import METHODS, descriptor
from harness.valid_requests import rules_of
from mesh.rpc.fast_validation import NOT_BLANK

WITHOUT_WIDTH = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
WHITE = "".join(
    character
    for character in map(chr, range(0x10000))
    if unicodedata.category(character) in {"Zs", "Zl", "Zp"} or character in "\t\n\v\f\r\u0085"
)


def messages(root: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    if root.full_name not in seen:
        seen.add(root.full_name)
        yield root
        for field in root.fields:
            if field.message_type is not None:
                yield from messages(field.message_type, seen)


SEEN: set[str] = set()
FIELDS = [
    field
    for method in METHODS
    for message in messages(descriptor(method).input_type, SEEN)
    for field in message.fields
    if rules_of(field).string.pattern and not rules_of(field).string.pattern.startswith("^")
]
"""Patterns of a whole text, such as a date, have a begin."""


def violates(field: FieldDescriptor, text: str) -> bool:
    request = message_factory.GetMessageClass(field.containing_type)()
    setattr(request, field.name, text)
    found = protovalidate.collect_violations(request)
    return any(violation.proto.field.elements[0].field_name == field.name for violation in found)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.full_name)
def test_what_shows_nothing_is_refused_and_all_else_accepted(field: FieldDescriptor) -> None:
    assert rules_of(field).string.pattern == NOT_BLANK
    for blank in (*WHITE, *WITHOUT_WIDTH, WHITE + WITHOUT_WIDTH):
        assert violates(field, blank), ascii(blank)
    for visible in ("x", "é", "任務", "\U0001f345", "\U0001f468\u200d\U0001f469", " \u3000x\u200b", "\u0301", "0"):
        assert not violates(field, visible), ascii(visible)


def test_fields_of_several_services_are_tried() -> None:
    assert {field.containing_type.full_name.split(".")[1] for field in FIELDS} >= {"todo", "pomodoro"}
