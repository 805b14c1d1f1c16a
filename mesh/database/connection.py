"""How services connect to Postgres, and how to abort a statement to which the server does not respond."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads

# A third of the time of Python's own. It makes floats of integers beyond 64 bits, but what services store has passed
# orjson's `dumps`, which refuses such. Audit, which proves what is stored digit by digit, reads it by Python's own.
set_json_loads(orjson.loads)

Connection = psycopg.AsyncConnection[Any]

CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 2,
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Never connects to a read-only (demoted) primary. Detects a vanished host within about ten seconds; by default the
kernel takes a quarter of an hour, or for ever."""


def abort(connection: Connection) -> None:
    """Ends the running statement of a connection, if there is one, with an OperationalError.

    Shuts the socket down and leaves closing to psycopg: the file descriptor must not be reused while the event loop
    polls it.
    """
    if connection.closed or connection.info.transaction_status != TransactionStatus.ACTIVE:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as end, suppress(OSError):  # reset already
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def statement_deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """Aborts the statement that still runs after so many seconds.

    A cancelled statement would not do: psycopg asks the server to cancel it, and waits for a response all the same.
    """
    timer = asyncio.get_running_loop().call_later(seconds, abort, connection)
    try:
        yield
    finally:
        timer.cancel()
