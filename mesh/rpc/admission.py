"""Admission: a call beyond what a service does at once is refused before anything of it is read.

gRPC takes up one call in several turns of the event loop, so turns must be short and a refusal cheap: no request is
received, no token verified, no span begun. Health checks have a queue of their own, and are never refused.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import grpc

from mesh.rpc.call import Context
from mesh.rpc.status import DETAILS, code_of, status_of
from mesh.runtime.errors import Overloaded

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
RETRY_SECONDS = 0.5
_OVERLOADED = Overloaded(retry_after=RETRY_SECONDS)
_STATUS = status_of(_OVERLOADED, _OVERLOADED.domain)
_TRAILERS = ((DETAILS, _STATUS.SerializeToString()),)


class ConcurrencyLimit:
    """Counts the calls that run in it, and all that ever began. gRPC's own limit would refuse health checks too."""

    __slots__ = ("begun", "most", "running")

    def __init__(self, most: int) -> None:
        self.most, self.running, self.begun = most, 0, 0

    def __enter__(self) -> None:
        self.running += 1
        self.begun += 1

    def __exit__(self, *_: object) -> None:
        self.running -= 1


class _Method(NamedTuple):
    handler: Handler
    limit: ConcurrencyLimit
    record: Callable[[str, float], None]


class Methods(grpc.GenericRpcHandler):
    """The methods of all services of a process, as gRPC finds them.

    One generic handler, and none that is registered: gRPC looks at all registered ones whenever it takes up a call.
    """

    def __init__(self) -> None:
        self._methods: dict[str, _Method] = {}

    def add(self, name: str, handler: Handler, limit: ConcurrencyLimit, record: Callable[[str, float], None]) -> None:
        """Adds `package.Service/Method`. record: of refused calls."""
        self._methods[f"/{name}"] = _Method(handler, limit, record)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """What answers a call: its handler, or what refuses it; None for an unknown method."""
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        limit = method.limit
        if limit.running < limit.most:
            return method.handler
        limit.begun += 1
        method.record(code_of(_OVERLOADED).name, 0.0)
        return _REFUSAL


async def _refuse(_requests: Any, context: Context) -> None:
    context.set_code(code_of(_OVERLOADED))
    context.set_details(_STATUS.message)
    context.set_trailing_metadata(_TRAILERS)


# Of a call whose requests are a stream gRPC receives none by itself.
_REFUSAL: Handler = grpc.stream_stream_rpc_method_handler(_refuse)
