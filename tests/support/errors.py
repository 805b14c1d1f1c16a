"""Errors as a caller receives them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


@dataclass
class ReceivedError:
    """An error as its caller received it."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    retry_after: float | None = None
    """Seconds."""


@contextmanager
def refused(reason: str, **metadata: str) -> Iterator[ReceivedError]:
    """Expects the block to fail so; yields the error, filled in when the block ends. metadata: at least."""
    received = ReceivedError()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield received
    _read(raised.value, received)
    assert received.reason == reason, received
    assert received.metadata.items() >= metadata.items(), received


def _read(error: grpc.aio.AioRpcError, received: ReceivedError) -> None:
    received.code, received.message = error.code(), error.details() or ""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))  # type: ignore[arg-type]
    for packed in status.details:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if packed.Unpack(info):
            received.reason, received.domain, received.metadata = info.reason, info.domain, dict(info.metadata)
        elif packed.Unpack(bad):
            received.fields = [violation.field for violation in bad.field_violations]
        elif packed.Unpack(retry):
            received.retry_after = retry.retry_delay.ToMilliseconds() / 1000
