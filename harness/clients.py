"""One call three ways: REST, native gRPC and gRPC-Web, with results that can be compared."""

import base64
import re
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote, unquote

import grpc
import httpx
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from contract.methods import Method
from harness.rpcs import request_class, response_class

SECONDS = 10.0
D = TypeVar("D", bound=Message)
_TLS = ssl.create_default_context()
"""One for all: httpx would read the authorities of the machine for each client, 25 ms of CPU."""
_TRAILER_FRAME = 0x80
_VARIABLE = re.compile(r"\{([^}]*)\}")
_Primitive = str | int | float | bool | None
"""What a query may hold."""


@dataclass(frozen=True)
class CallResult:
    """The result in the terms of gRPC; `http` is 0 for native gRPC."""

    code: int
    message: str = ""
    status: status_pb2.Status = field(default_factory=status_pb2.Status)
    response: Message | None = None
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
        """The machine-readable reason."""
        return self.detail(error_details_pb2.ErrorInfo).reason

    @property
    def domain(self) -> str:
        """The domain of the reason."""
        return self.detail(error_details_pb2.ErrorInfo).domain


class Client(Protocol):
    """A way to call an RPC."""

    name: str

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> CallResult:
        """Calls and waits for the result."""


class Grpc:
    """Native gRPC."""

    name = "grpc"

    def __init__(self, target: str) -> None:
        """target: host:port."""
        self.channel = grpc.insecure_channel(target)

    def close(self) -> None:
        """Closes its connections."""
        self.channel.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> CallResult:
        """Calls; of a stream, the first message is the response."""
        open_call: Any = self.channel.unary_stream if method.streaming else self.channel.unary_unary
        stub = open_call(
            method.grpc_path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response_class(method).FromString,
        )
        metadata = tuple({**_bearer(token), **(headers or {})}.items())
        try:
            if method.streaming:
                stream = stub(request, metadata=metadata, timeout=SECONDS)
                response = next(stream, None)
                stream.cancel()
                return CallResult(0, response=response)
            response, call = stub.with_call(request, metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as raised:
            error = cast(grpc.Call, raised)
            status = rpc_status.from_call(error) or status_pb2.Status()
            sent = {key: value for key, value in error.initial_metadata() or () if isinstance(value, str)}
            return CallResult(error.code().value[0], error.details() or "", status, headers=sent)
        sent = {key: value for key, value in call.initial_metadata() if isinstance(value, str)}
        return CallResult(0, response=response, headers=sent)


class Rest:
    """JSON by HTTP/1.1, as the bindings of the contract say."""

    name = "rest"

    def __init__(self, url: str) -> None:
        """url: of the gateway, without a path."""
        self.http = httpx.Client(base_url=url, timeout=SECONDS, verify=_TLS)

    def close(self) -> None:
        """Closes its connections."""
        self.http.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> CallResult:
        """Calls an RPC that has a binding."""
        verb, path, query, body = rest_request(method, request)
        raw = self.http.request(verb, path, params=query, json=body, headers={**_bearer(token), **(headers or {})})
        return rest_result(raw, response_class(method))

    def send(self, verb: str, path: str, token: str | None = None, **given: Any) -> CallResult:
        """Sends any request; `given` as httpx takes it. Without its class the response itself is left out."""
        headers = {**_bearer(token), **given.pop("headers", {})}
        return rest_result(self.http.request(verb, path, headers=headers, **given))

    def get(self, path: str, token: str | None = None, **given: Any) -> CallResult:
        """Gets a path."""
        return self.send("GET", path, token, **given)


class GrpcWeb:
    """gRPC-Web by HTTP/1.1, binary or as text."""

    def __init__(self, url: str, *, text: bool = False) -> None:
        """text: base64, as browsers that cannot stream bytes send it."""
        self.name = "grpc-web-text" if text else "grpc-web"
        self.http = httpx.Client(base_url=url, timeout=SECONDS, verify=_TLS)
        self.text = text
        self.content_type = "application/grpc-web-text" if text else "application/grpc-web+proto"

    def close(self) -> None:
        """Closes its connections."""
        self.http.close()

    def call(
        self, method: Method, request: Message, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> CallResult:
        """Calls; of a stream, the first message is the response."""
        payload = request.SerializeToString()
        body = struct.pack(">BI", 0, len(payload)) + payload
        sent = {"content-type": self.content_type, "accept": self.content_type, "x-grpc-web": "1"}
        content = base64.b64encode(body) if self.text else body
        raw = self.http.post(method.grpc_path, content=content, headers={**sent, **_bearer(token), **(headers or {})})
        return self._result(raw, response_class(method))

    def _result(self, raw: httpx.Response, kind: type[Message]) -> CallResult:
        content = _decoded_text(raw.content) if self.text else raw.content
        messages, trailers = _frames(content)
        received = {**raw.headers, **trailers}
        status = status_pb2.Status()
        if packed := received.get("grpc-status-details-bin"):
            status.ParseFromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
        response = kind.FromString(messages[0]) if messages else None
        return CallResult(
            int(received["grpc-status"]),
            unquote(received.get("grpc-message", "")),
            status,
            response,
            raw.status_code,
            dict(raw.headers),
        )


def rest_request(method: Method, request: Message) -> tuple[str, str, list[tuple[str, _Primitive]], Any]:
    """Verb, path, query and body of the RPC's binding."""
    if method.binding is None:
        raise ValueError(f"{method.grpc_path} has no binding")
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    path = _VARIABLE.sub(lambda found: quote(str(fields.pop(found[1], "")), safe=""), method.binding.template)
    if method.binding.has_body:
        return method.binding.verb, path, [], fields
    query: list[tuple[str, _Primitive]] = [
        (name, _query_text(item))
        for name, value in fields.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return method.binding.verb, path, query, None


def rest_result(raw: httpx.Response, kind: type[Message] | None = None) -> CallResult:
    """The result of a call over REST; fails when its JSON has another shape than the documented one."""
    if raw.is_success:
        response = json_format.Parse(raw.text, kind()) if kind else None
        return CallResult(0, response=response, http=raw.status_code, headers=dict(raw.headers))
    assert raw.headers.get("content-type") == "application/json", (
        raw.status_code,
        raw.headers,
        raw.text,
    )
    status = json_format.Parse(raw.text, status_pb2.Status(), descriptor_pool=descriptor_pool.Default())
    return CallResult(status.code, status.message, status, None, raw.status_code, dict(raw.headers))


def empty(method: Method) -> Message:
    """A request with nothing set but what its path needs."""
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
