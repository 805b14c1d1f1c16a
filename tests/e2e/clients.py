"""One call three ways: REST, native gRPC and gRPC-Web, with answers that can be compared."""

import base64
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote

import grpc
import httpx
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from envoy.contract import Method
from tests.e2e.rpcs import request_class, response_class

SECONDS = 10.0
D = TypeVar("D", bound=Message)
_TRAILER_FRAME = 0x80
_VARIABLE = re.compile(r"\{([^}]*)\}")


@dataclass(frozen=True)
class Answer:
    """What came back, in the terms of gRPC; `http` is 0 for native gRPC."""

    code: int
    message: str = ""
    status: status_pb2.Status = field(default_factory=status_pb2.Status)
    reply: Message | None = None
    http: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.code == 0

    def detail(self, kind: type[D]) -> D:
        """The first detail of this kind; fails when there is none."""
        for packed in self.status.details:
            found = kind()
            if packed.Unpack(found):
                return found
        raise AssertionError(f"no {kind.__name__} in {self}")

    @property
    def reason(self) -> str:
        """The reason for machines."""
        return self.detail(error_details_pb2.ErrorInfo).reason

    @property
    def domain(self) -> str:
        """Whose reason it is."""
        return self.detail(error_details_pb2.ErrorInfo).domain


class Client(Protocol):
    """A way to call an RPC."""

    name: str

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Calls and waits for the answer."""


class Grpc:
    """Native gRPC."""

    name = "grpc"

    def __init__(self, target: str) -> None:
        """target: host:port."""
        self.channel = grpc.insecure_channel(target)

    def close(self) -> None:
        """Ends its connections."""
        self.channel.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Calls; of a stream, the first message is the answer."""
        open_call = self.channel.unary_stream if method.streaming else self.channel.unary_unary
        stub = open_call(
            method.full_name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response_class(method).FromString,
        )
        metadata = tuple({**_bearer(token), **(headers or {})}.items())
        try:
            if method.streaming:
                stream = stub(request, metadata=metadata, timeout=SECONDS)
                reply = next(stream, None)
                stream.cancel()
                return Answer(0, reply=reply)
            reply, call = stub.with_call(request, metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            status = rpc_status.from_call(error) or status_pb2.Status()
            sent = {key: value for key, value in error.initial_metadata() or () if isinstance(value, str)}
            return Answer(error.code().value[0], error.details() or "", status, headers=sent)
        sent = {key: value for key, value in call.initial_metadata() if isinstance(value, str)}
        return Answer(0, reply=reply, headers=sent)


class Rest:
    """JSON by HTTP/1.1, as the bindings of the contract say."""

    name = "rest"

    def __init__(self, url: str) -> None:
        """url: of the gateway, without a path."""
        self.http = httpx.Client(base_url=url, timeout=SECONDS)

    def close(self) -> None:
        """Ends its connections."""
        self.http.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Calls an RPC that has a binding."""
        verb, path, query, body = rest_request(method, request)
        answer = self.http.request(verb, path, params=query, json=body, headers={**_bearer(token), **(headers or {})})
        return rest_answer(answer, response_class(method))

    def send(self, verb: str, path: str, token: str | None = None, **given: Any) -> Answer:
        """Sends any request; `given` as httpx takes it. An answer that is no error has no reply here."""
        headers = {**_bearer(token), **given.pop("headers", {})}
        return rest_answer(self.http.request(verb, path, headers=headers, **given))

    def get(self, path: str, token: str | None = None, **given: Any) -> Answer:
        """Gets a path."""
        return self.send("GET", path, token, **given)


class GrpcWeb:
    """gRPC-Web by HTTP/1.1, binary or as text."""

    def __init__(self, url: str, *, text: bool = False) -> None:
        """text: base64, as browsers that cannot stream bytes send it."""
        self.name = "grpc-web-text" if text else "grpc-web"
        self.http = httpx.Client(base_url=url, timeout=SECONDS)
        self.text = text
        self.content_type = "application/grpc-web-text" if text else "application/grpc-web+proto"

    def close(self) -> None:
        """Ends its connections."""
        self.http.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Calls; of a stream, the first message is the answer."""
        payload = request.SerializeToString()
        body = struct.pack(">BI", 0, len(payload)) + payload
        sent = {"content-type": self.content_type, "accept": self.content_type, "x-grpc-web": "1"}
        content = base64.b64encode(body) if self.text else body
        answer = self.http.post(
            method.full_name, content=content, headers={**sent, **_bearer(token), **(headers or {})}
        )
        return self._answer(answer, response_class(method))

    def _answer(self, answer: httpx.Response, reply_class: type[Message]) -> Answer:
        content = _decoded_text(answer.content) if self.text else answer.content
        messages, trailers = _frames(content)
        told = {**answer.headers, **trailers}
        status = status_pb2.Status()
        if packed := told.get("grpc-status-details-bin"):
            status.ParseFromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
        reply = reply_class.FromString(messages[0]) if messages else None
        return Answer(
            int(told["grpc-status"]),
            unquote(told.get("grpc-message", "")),
            status,
            reply,
            answer.status_code,
            dict(answer.headers),
        )


def rest_request(method: Method, request: Message) -> tuple[str, str, list[tuple[str, str]], Any]:
    """Verb, path, query and body of the RPC's binding."""
    if method.binding is None:
        raise ValueError(f"{method.full_name} has no binding")
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    path = _VARIABLE.sub(lambda found: quote(str(fields.pop(found[1], "")), safe=""), method.binding.template)
    if method.binding.has_body:
        return method.binding.verb, path, [], fields
    query = [
        (name, _query_text(item))
        for name, value in fields.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return method.binding.verb, path, query, None


def rest_answer(answer: httpx.Response, reply_class: type[Message] | None = None) -> Answer:
    """An answer in JSON; fails when it has another shape than the documented one."""
    if answer.is_success:
        reply = json_format.Parse(answer.text, reply_class()) if reply_class else None
        return Answer(0, reply=reply, http=answer.status_code, headers=dict(answer.headers))
    assert answer.headers.get("content-type") == "application/json", (answer.status_code, answer.headers, answer.text)
    status = json_format.Parse(answer.text, status_pb2.Status(), descriptor_pool=symbol_database.Default().pool)
    return Answer(status.code, status.message, status, None, answer.status_code, dict(answer.headers))


def empty(method: Method) -> Message:
    """A request that says nothing but what its path needs."""
    names = _VARIABLE.findall(method.binding.template) if method.binding else []
    return request_class(method)(**dict.fromkeys(names, "00000000-0000-7000-8000-000000000000"))


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def _frames(content: bytes) -> tuple[list[bytes], dict[str, str]]:
    messages: list[bytes] = []
    trailers: dict[str, str] = {}
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        payload, content = content[5 : 5 + length], content[5 + length :]
        if flags & _TRAILER_FRAME:
            lines = (line.partition(":") for line in payload.decode().splitlines())
            trailers = {name.strip().lower(): value.strip() for name, _, value in lines if name}
        else:
            messages.append(payload)
    return messages, trailers


def _decoded_text(content: bytes) -> bytes:
    """Base64 in pieces: every piece may end with padding of its own."""
    return b"".join(base64.b64decode(piece) for piece in re.findall(rb"[A-Za-z0-9+/]+={0,2}", content))
