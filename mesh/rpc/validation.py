"""Validation: every rule of the contract, checked before a handler sees the request."""

from collections.abc import Callable, Iterator

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from mesh.rpc.fast_validation import fast_validation
from mesh.runtime.errors import FieldViolation, InvalidRequest

_NUL = "must not contain the character U+0000"
_MOST_VIOLATIONS = 20
"""A few kilobytes: native clients reject larger trailers."""


def reader(expected: Descriptor) -> Callable[[bytes], Message]:
    """What turns the bytes of a call into its request, checked; it raises InvalidRequest.

    gRPC is given no parser of its own: what a parser raises there is UNKNOWN and tells of its insides.
    """
    parse, valid = GetMessageClass(expected).FromString, fast_validation(expected)

    def read(content: bytes) -> Message:
        try:
            request = parse(content)
        except DecodeError:
            summary = f"request: must be a {expected.full_name} in protobuf, its texts in UTF-8"
            raise InvalidRequest(summary=summary) from None
        # No text may contain U+0000, which no rule says.
        if b"\0" in content or not valid(request):
            check(request)
        return request

    return read


def check(request: Message) -> None:
    """Raises InvalidRequest, which names every field that breaks a rule."""
    found = [_named(violation) for violation in protovalidate.collect_violations(request)[:_MOST_VIOLATIONS]]
    # Bytes are looked at first: nearly no request has a zero byte anywhere.
    if not found and b"\0" in request.SerializeToString():
        found = [FieldViolation(path, _NUL, "text.nul") for path in _with_nul(request)]
    if found:
        raise InvalidRequest(
            fields=found,
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


def _with_nul(message: Message, prefix: str = "") -> Iterator[str]:
    """Paths of the texts that Postgres cannot store."""
    for field, value in message.ListFields():
        values = {f"[{place}]": item for place, item in enumerate(value)} if field.is_repeated else {"": value}
        for place, item in values.items():
            path = f"{prefix}{field.name}{place}"
            if isinstance(item, str) and "\0" in item:
                yield path
            elif isinstance(item, Message):
                yield from _with_nul(item, f"{path}.")
