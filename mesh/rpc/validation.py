"""Validation: from the bytes of a request to a valid message, by its limits, then by every rule of the contract."""

import logging
from collections.abc import Callable, Iterator
from itertools import islice

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from mesh.rpc.fast_validation import Check, UnknownRuleError, fast_validation
from mesh.rpc.limits import LARGEST_REQUEST, RequestLimits
from mesh.rpc.patterns import MEANINGS
from mesh.rpc.values import normalizer
from mesh.runtime.errors import FieldViolation, InvalidRequest

log = logging.getLogger(__name__)

_NUL = "must not contain the character U+0000"
_MOST_VIOLATIONS = 20
"""A few kilobytes: native clients reject larger trailers."""
SMALL_BYTES = 16 * 1024
"""Requests up to this size are parsed before their elements are counted, in at most 3 ms; most are never counted."""


def reader(expected: Descriptor, largest: int = LARGEST_REQUEST) -> Callable[[bytes], Message]:
    """Returns a function that parses, validates and normalizes the bytes of a request, and raises InvalidRequest.

    largest: bytes of a request.
    gRPC gets no parser, because it returns a parser's exception as UNKNOWN with its text. Raises UnboundedRequestError.
    """
    parse, valid = GetMessageClass(expected).FromString, _fast_validation(expected)
    limits = RequestLimits(expected, largest=largest)
    normalize = normalizer(expected, _MOST_VIOLATIONS)

    def read(content: bytes) -> Message:
        limits.check_size(content)
        large = len(content) > SMALL_BYTES
        if large:
            limits.check_counts(content)
        try:
            request = parse(content)
        except DecodeError:
            summary = f"request: must be a {expected.full_name} in protobuf, its texts in UTF-8"
            raise InvalidRequest(summary=summary) from None
        # No text may contain U+0000; the contract has no such rule.
        if b"\0" in content or not valid(request):
            if not large:
                limits.check_counts(content)
            check(request)
            _refuse(normalize(request))
        return request

    return read


def _fast_validation(expected: Descriptor) -> Check:
    """The fast check of a type, or one that leaves every message to protovalidate."""
    try:
        return fast_validation(expected)
    except UnknownRuleError as error:
        log.info("every %s is validated by protovalidate: %s", expected.full_name, error)
        return lambda _message: False


def check(request: Message) -> None:
    """Raises InvalidRequest, which names up to 20 fields that violate a rule."""
    found: list[FieldViolation] = []
    if protovalidate.collect_violations(request, fail_fast=True):
        found = _violations(request)
    # The bytes first: almost no request has a zero byte anywhere.
    elif b"\0" in request.SerializeToString():
        nul = islice(_with_nul(request), _MOST_VIOLATIONS)
        found = [FieldViolation(path, _NUL, "text.nul") for path in nul]
    _refuse(found)


def _refuse(found: list[FieldViolation]) -> None:
    """Raises InvalidRequest for these violations, if there are any."""
    if found:
        raise InvalidRequest(
            fields=found,
            summary="; ".join(f"{violation.field or 'request'}: {violation.description}" for violation in found[:3]),
        )


def _violations(message: Message, path: str = "") -> list[FieldViolation]:
    """At most 20 of a message's violations. path: of the message, such as `tasks[1].`.

    protovalidate returns one violation or all, at 30 µs each; so a message is validated only when its elements have
    fewer than 20 together.
    """
    found: list[FieldViolation] = []
    for name, element in _elements(message, path):
        found += _violations(element, name)
        if len(found) >= _MOST_VIOLATIONS:
            return found[:_MOST_VIOLATIONS]
    own = protovalidate.collect_violations(message)
    return [_named(violation, path) for violation in own[:_MOST_VIOLATIONS]]


def _elements(message: Message, path: str) -> Iterator[tuple[str, Message]]:
    """The messages in a message, each with its path."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if not field.is_repeated:
            yield f"{path}{field.name}.", value
            continue
        for index, element in enumerate(value):
            yield f"{path}{field.name}[{index}].", element


def _named(violation: protovalidate.Violation, prefix: str) -> FieldViolation:
    """The violation with the path of its field, such as `tasks[1].title`.

    The ID of a rule on a message ends with the field it concerns, such as `list_tasks.due_before`.
    """
    found = violation.proto
    path = ".".join(_element(element) for element in found.field.elements) if found.field is not None else ""
    if found.rule is None and "." in found.rule_id:
        path = ".".join(filter(None, (path, found.rule_id.rpartition(".")[2])))
    description = found.message
    if found.rule_id == "string.pattern":
        description = MEANINGS.get(violation.rule_value, description)
    return FieldViolation(f"{prefix}{path}".rstrip("."), description, found.rule_id)


def _element(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{subscript.value}]"


def _with_nul(message: Message, prefix: str = "") -> Iterator[str]:
    """Paths of the texts that contain U+0000, which Postgres cannot store."""
    for field, value in message.ListFields():
        values = {f"[{index}]": item for index, item in enumerate(value)} if field.is_repeated else {"": value}
        for subscript, item in values.items():
            path = f"{prefix}{field.name}{subscript}"
            if isinstance(item, str) and "\0" in item:
                yield path
            elif isinstance(item, Message):
                yield from _with_nul(item, f"{path}.")
