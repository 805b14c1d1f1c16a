"""What REST callers know by other names.

`If-Match` is the etag of a request, `Idempotency-Key` its request_id, by gRPC too. `ETag` is the etag of a response;
and errors call fields as JSON does.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from mesh.runtime.errors import FieldViolation, InvalidRequest

Headers = Mapping[str, str | bytes]
_ETAG, _KEY = "if-match", "idempotency-key"
_UNSUPPORTED = ("if-none-match", "if-unmodified-since")
"""Preconditions of writes that nothing here can check."""
_MEANINGFUL = frozenset({_ETAG, _KEY, *_UNSUPPORTED})
_ONE_ETAG = re.compile(r'"([!#-~]{1,64})"|(?!W/)([!#-+\--~]{1,64})')
_ONE_KEY = re.compile(r'("?)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\1')


class RequestHeaders:
    """What these headers mean in calls of one method."""

    def __init__(self, method: MethodDescriptor) -> None:
        fields, level = method.input_type.fields_by_name, method.GetOptions().idempotency_level
        self._has_etag, self._has_request_id = "etag" in fields, "request_id" in fields
        self._reads = level == MethodOptions.NO_SIDE_EFFECTS
        self._repeatable = level != MethodOptions.IDEMPOTENCY_UNKNOWN

    def apply(self, headers: Headers, sent: Any, request: Any) -> None:
        """Sets the etag and the request_id that the headers of a call name.

        sent: the metadata, in which a header may come twice. Raises InvalidRequest for a header that cannot be read,
        that contradicts the request, or whose promise the call could not keep.
        """
        if _MEANINGFUL.isdisjoint(headers):
            return
        values = {
            name: ", ".join(str(value) for key, value in sent if key == name) for name in _MEANINGFUL & {*headers}
        }
        if not self._reads:
            for name in _UNSUPPORTED:
                if name in values:
                    raise _refused(name, "is not supported; if-match is")
        if _ETAG in values:
            self._apply_etag(values[_ETAG].strip(), request)
        if _KEY in values:
            self._apply_key(values[_KEY].strip().lower(), request)

    def _apply_etag(self, value: str, request: Any) -> None:
        if not self._has_etag:
            raise _refused(_ETAG, "is not supported by this call, which has no etag")
        if value == "*":
            return
        found = _ONE_ETAG.fullmatch(value)
        if found is None:
            raise _refused(_ETAG, 'must be one strong etag such as "v7", or *')
        _set(request, "etag", found[1] or found[2], _ETAG)

    def _apply_key(self, value: str, request: Any) -> None:
        if not self._has_request_id:
            if self._repeatable:
                return
            raise _refused(_KEY, "is not supported by this call, which has no request_id")
        found = _ONE_KEY.fullmatch(value)
        if found is None:
            raise _refused(_KEY, "must be one UUID")
        _set(request, "request_id", found[2], _KEY)


class ResponseEtag:
    """The etag of the resource that a method's response holds."""

    def __init__(self, method: MethodDescriptor) -> None:
        self._fields = [field.name for field in method.output_type.fields if _has_etag(field)]

    def of(self, response: Any) -> str | None:
        """The value of the header `ETag`; None for a response without one."""
        for name in self._fields:
            if response.HasField(name) and (etag := getattr(response, name).etag):
                return f'"{etag}"'
        return None


@cache
def json_names(method: MethodDescriptor) -> Mapping[str, str]:
    """Names in JSON of the fields that errors of a method name."""
    names: dict[str, str] = {}
    _add_names(names, method.input_type)
    return {**{field.name: field.json_name for field in method.output_type.fields}, **names}


def _add_names(names: dict[str, str], message: Descriptor) -> None:
    for field in message.fields:
        names[field.name] = field.json_name
        if field.message_type is not None:
            _add_names(names, field.message_type)


def _has_etag(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated and "etag" in field.message_type.fields_by_name


def _set(request: Message, field: str, value: str, header: str) -> None:
    if getattr(request, field) not in ("", value):
        raise _refused(header, f"differs from {field} in the request")
    setattr(request, field, value)


def _refused(header: str, description: str) -> InvalidRequest:
    violation = FieldViolation(header, description, f"header.{header}")
    return InvalidRequest(fields=[violation], summary=f"{header}: {description}")
