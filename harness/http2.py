"""A bare HTTP/2 client for load: requests whose headers are encoded once, many on a connection.

It must leave the CPU to the system under load: a call takes some 0.05 ms here, and five times that in grpc.aio.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Self, TypeAlias, cast

from hpack import Decoder

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACKNOWLEDGED = 1
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = 8
_HEADER_TABLE_SIZE, _MOST_STREAMS, _INITIAL_WINDOW = 1, 3, 4
_WINDOW = 1 << 30
_LARGEST_FRAME_HEAD = 9
_UNLIMITED = 1 << 31
_TELLING = frozenset({":status", "grpc-status", "grpc-status-details-bin", "retry-after"})
_NO_TEXT = b"\0"

Headers: TypeAlias = dict[str, str]
OnEnd: TypeAlias = Callable[[Headers, int], None]
"""Called with the headers and trailers of a response, and the error code of a reset, -1 without one."""
NOT_RESET = -1


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A whole frame."""
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def settings(values: Mapping[int, int]) -> bytes:
    """A frame of settings."""
    return frame(
        SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values.items())
    )


def frames(buffer: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and content of every whole frame, which leaves the buffer."""
    at = 0
    try:
        while len(buffer) - at >= _LARGEST_FRAME_HEAD:
            size = int.from_bytes(buffer[at : at + 3], "big")
            end = at + _LARGEST_FRAME_HEAD + size
            if end > len(buffer):
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            content = bytes(buffer[at + _LARGEST_FRAME_HEAD : end])
            at = end
            yield kind, flags, stream, content
    finally:
        del buffer[:at]


def encoded(headers: Mapping[str, str]) -> bytes:
    """A block of headers that uses no table, so that it is the same for every connection. Pseudo-headers come first."""
    return b"".join(b"\0" + _text(name.encode()) + _text(value.encode()) for name, value in headers.items())


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, size = len(text) - 127, bytearray((127,))
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    return bytes(size) + bytes((rest,)) + text


def decoded(block: bytes) -> Headers:
    """The headers of a block that uses no table of its connection, as far as they say what became of a call.

    Others, such as an id, differ from call to call, and are passed over unread: that would cost most of a call.
    """
    found, at = {}, 0
    while at < len(block):
        start = at
        if block[at] & 0x80:  # a header of the static table
            at = _integer(block, at, 7)[1]
            name, value = _field(block[start:at])
        else:
            index, at = _integer(block, at, 6 if block[at] & 0x40 else 5 if block[at] & 0x20 else 4)
            if block[start] & 0xE0 == 0x20:  # the size of the table
                continue
            at = at if index else _after_text(block, at)
            name, value = _field(block[start:at] + _NO_TEXT)[0], ""
            at = _after_text(block, at)
            if name in _TELLING:
                value = _field(block[start:at])[1]
        if name in _TELLING:
            found[name] = value
    return found


@lru_cache(4096)
def _field(content: bytes) -> tuple[str, str]:
    """Name and value of a whole header."""
    [(name, value)] = Decoder().decode(content)
    return str(name), str(value)


def _after_text(block: bytes, at: int) -> int:
    size, at = _integer(block, at, 7)
    return at + size


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number that begins with the last bits of a byte, and the position after it."""
    most = (1 << bits) - 1
    value, at, shift = block[at] & most, at + 1, 0
    if value < most:
        return value, at
    while (byte := block[at]) & 0x80:
        value, at, shift = value + ((byte & 0x7F) << shift), at + 1, shift + 7
    return value + (byte << shift), at + 1


class Connection(asyncio.Protocol):
    """One connection with many calls at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._calls: dict[int, tuple[OnEnd, Headers]] = {}
        self._next, self._window, self._received = 1, 65_535, 0
        self._waiting: deque[bytes] = deque()
        """Frames of data that the peer does not take yet."""
        self._most = _UNLIMITED
        """Unless the peer says otherwise."""
        self._lost = False
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, target: str) -> Self:
        """Connects. target: host:port. Raises OSError."""
        host, _, port = target.rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        return connection

    @property
    def free(self) -> int:
        """How many more calls it takes."""
        return 0 if self._lost else self._most - len(self._calls)

    def call(self, head: bytes, body: bytes, on_end: OnEnd) -> int:
        """Sends a whole request; returns the number of its stream. head: as `encoded` makes it."""
        stream, self._next = self._next, self._next + 2
        self._calls[stream] = (on_end, {})
        if not body:
            self._transport.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, head))
            return stream
        self._transport.write(frame(HEADERS, END_HEADERS, stream, head))
        self._waiting.append(frame(DATA, END_STREAM, stream, body))
        self._send()
        return stream

    def cancel(self, stream: int) -> None:
        """Gives a call up; its end is not told."""
        if self._calls.pop(stream, None) is not None and not self._lost:
            self._transport.write(frame(RESET, 0, stream, CANCEL.to_bytes(4, "big")))

    def close(self) -> None:
        """Closes the connection; the ends of its calls are not told."""
        self._calls.clear()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        # Without a table a block of headers means the same on every connection, and is decoded once.
        wanted = settings({_HEADER_TABLE_SIZE: 0, _INITIAL_WINDOW: _WINDOW})
        self._transport.write(PREFACE + wanted + frame(WINDOW_UPDATE, 0, 0, (_WINDOW).to_bytes(4, "big")))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._buffer += data
        for kind, flags, stream, content in frames(self._buffer):
            if kind == HEADERS and stream in self._calls:
                self._calls[stream][1].update(decoded(content))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                self._end(stream, NOT_RESET)
            elif kind == RESET:
                self._end(stream, int.from_bytes(content, "big"))
            elif kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
                self._answer(kind, content)
            elif kind == WINDOW_UPDATE and not stream:
                self._window += int.from_bytes(content, "big")
                self._send()
            if kind == DATA:
                self._take(len(content))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (named as asyncio calls it)
        """Called by the event loop."""
        self._lost = True
        for stream in list(self._calls):
            self._end(stream, NOT_RESET)

    def _answer(self, kind: int, content: bytes) -> None:
        if kind == PING:
            self._transport.write(frame(PING, ACKNOWLEDGED, 0, content))
            return
        for at in range(0, len(content), 6):
            if int.from_bytes(content[at : at + 2], "big") == _MOST_STREAMS:
                self._most = int.from_bytes(content[at + 2 : at + 6], "big")
        self._transport.write(frame(SETTINGS, ACKNOWLEDGED, 0))

    def _send(self) -> None:
        while self._waiting and (size := len(self._waiting[0]) - _LARGEST_FRAME_HEAD) <= self._window:
            self._window -= size
            self._transport.write(self._waiting.popleft())

    def _take(self, size: int) -> None:
        self._received += size
        if self._received > _WINDOW // 2:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    def _end(self, stream: int, reset: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            call[0](call[1], reset)
