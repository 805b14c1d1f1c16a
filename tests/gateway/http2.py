"""One request by HTTP/2 as no library would send it, frame by frame."""

import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.ports import LOOPBACK

DATA, HEADERS, RST_STREAM = 0, 1, 3
_SETTINGS = 4
_END_STREAM, _END_HEADERS = 1, 4
_SECONDS = 5.0


class Frame(NamedTuple):
    """A received frame of the request's stream."""

    kind: int
    content: bytes


def exchange(
    port: int, headers: Mapping[str, str], content: bytes = b"", trailers: Mapping[str, str] | None = None
) -> list[Frame]:
    """Sends a request and returns the frames of its response. headers: texts below 127 bytes; a POST by default."""
    begun = _frame(HEADERS, _END_HEADERS | (0 if content else _END_STREAM), _hpack({**_PLACE, **headers}))
    if content:
        begun += _frame(DATA, 0 if trailers else _END_STREAM, content)
    if trailers:
        begun += _frame(HEADERS, _END_HEADERS | _END_STREAM, _hpack(trailers))
    with socket.create_connection((LOOPBACK, port), _SECONDS) as connection, connection.makefile("rb") as received:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, b"", stream=0) + begun)
        frames = []
        while True:
            length, kind, flags, stream = struct.unpack(">3sBBI", received.read(9))
            frame = Frame(kind, received.read(int.from_bytes(length)))
            if stream:
                frames.append(frame)
            if kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & _END_STREAM):
                return frames


_PLACE = {":method": "POST", ":scheme": "http", ":authority": "gateway"}


def _frame(kind: int, flags: int, content: bytes, stream: int = 1) -> bytes:
    return struct.pack(">3sBBI", len(content).to_bytes(3), kind, flags, stream) + content


def _hpack(headers: Mapping[str, str]) -> bytes:
    """Headers as literals that no table keeps, each text shorter than 127 bytes."""
    texts = (text.encode() for header in headers.items() for text in header)
    sized = [bytes([len(text)]) + text for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(sized[::2], sized[1::2], strict=True))
