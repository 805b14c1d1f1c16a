"""How services connect to Postgres, and how a statement ends that a silent server will never answer."""

import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.AsyncConnection[Any]

CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 2,
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Never a read-only (demoted) primary. A host that vanished is noticed within some ten seconds; by itself the kernel
waits for a quarter of an hour, or for ever."""


def abort(connection: Connection) -> None:
    """Ends the running statement of a connection, if there is one, with an OperationalError.

    Shuts the socket down and leaves closing to psycopg: while the event loop waits for it, its number must not be
    given to another.
    """
    if connection.closed or connection.info.transaction_status != TransactionStatus.ACTIVE:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as end, suppress(OSError):  # reset already
        end.shutdown(socket.SHUT_RDWR)
