"""Errors as a caller reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2


@dataclass
class Refused:
    """What the caller was told."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)


@contextmanager
def refused(reason: str, **metadata: str) -> Iterator[Refused]:
    """Expects the block to be refused with this reason and these variables; what was told is filled in afterwards."""
    told = Refused()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield told
    _read(raised.value, told)
    assert told.reason == reason, told
    assert told.metadata.items() >= metadata.items(), told


def _read(error: grpc.aio.AioRpcError, told: Refused) -> None:
    told.code, told.message = error.code(), error.details() or ""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))  # type: ignore[arg-type]
    for packed in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if packed.Unpack(info):
            told.reason, told.domain, told.metadata = info.reason, info.domain, dict(info.metadata)
        elif packed.Unpack(bad):
            told.fields = [violation.field for violation in bad.field_violations]
