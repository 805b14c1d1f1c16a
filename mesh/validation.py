"""Validation: every rule of the contract, checked before a handler sees the request."""

import protovalidate
from google.protobuf.message import Message

from mesh.errors import FieldViolation, InvalidRequest

_MOST_VIOLATIONS = 20
"""A few kilobytes: native clients reject larger trailers."""


def check(request: Message) -> None:
    """Raises InvalidRequest, which names every field that breaks a rule."""
    violations = protovalidate.collect_violations(request)
    if violations:
        raise InvalidRequest(
            fields=(found := [_named(violation) for violation in violations[:_MOST_VIOLATIONS]]),
            summary="; ".join(f"{violation.field or 'request'}: {violation.description}" for violation in found[:3]),
        )


def _named(violation: protovalidate.Violation) -> FieldViolation:
    """The violation with the path of its field, such as `tasks[1].title`.

    A rule of a whole message has an id that ends with the field it is about, such as `list_tasks.due_before`.
    """
    found = violation.proto
    path = ".".join(_element(element) for element in found.field.elements) if found.field is not None else ""
    if found.rule is None:
        path = ".".join(part for part in (path, found.rule_id.rpartition(".")[2]) if part)
    return FieldViolation(path, found.message, found.rule_id)


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{subscript.value}]"
