"""A sink, a process of its own: `python -m prove.sink PORT` refuses every gRPC call at the least cost."""

import asyncio
import sys
from typing import cast

import uvloop

from harness.http2 import (
    ACKNOWLEDGED,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    encoded,
    frame,
    frames,
    settings,
)
from stack.layout import LOOPBACK

_MOST_STREAMS, _STREAMS = 3, 1000
_TOP_UP = 1 << 14
_REFUSAL = encoded({":status": "200", "content-type": "application/grpc", "grpc-status": "8", "retry-after": "1"})


class _Refusing(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer, self._taken = bytearray(), 0
        self._preface = len(PREFACE)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(settings({_MOST_STREAMS: _STREAMS}))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._buffer += data
        if self._preface and len(self._buffer) >= self._preface:
            del self._buffer[: self._preface]
            self._preface = 0
        if self._preface:
            return
        answers = []
        for kind, flags, stream, content in frames(self._buffer):
            if kind == SETTINGS and not flags & ACKNOWLEDGED:
                answers.append(frame(SETTINGS, ACKNOWLEDGED, 0))
            elif kind == PING and not flags & ACKNOWLEDGED:
                answers.append(frame(PING, ACKNOWLEDGED, 0, content))
            if kind == DATA:
                self._taken += len(content)
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                answers.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, _REFUSAL))
        if self._taken > _TOP_UP:
            answers.append(frame(WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0
        self._transport.write(b"".join(answers))


async def serve(port: int) -> None:
    """Refuses until the process ends."""
    server = await asyncio.get_running_loop().create_server(_Refusing, LOOPBACK, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
