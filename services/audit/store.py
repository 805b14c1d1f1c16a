"""SQL of the audit log: one statement per function. `get_…` raises when it finds nothing, `find_…` returns None."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from psycopg.types.string import TextLoader

from mesh.database.columns import Columns, namedtuple_row
from mesh.database.connection import Connection
from mesh.rpc.pagination import LARGEST_RESPONSE, Key, Page
from mesh.runtime.clock import to_datetime
from services.audit.errors import AuditRecordNotFound
from services.audit.model import GENESIS, ChainHead, Filter, Record

RECORDS = Columns(
    "audit_records",
    Record,
    {
        "id": "uuid",
        "user_id": "uuid",
        "event_id": "uuid",
        "event_type": "text",
        "task_id": "uuid",
        "payload": "jsonb",
        "source_service": "text",
        "recorded_at": "timestamptz",
        "chain_position": "integer",
        "previous_hash": "bytea",
        "hash": "bytea",
    },
)
HEADS = Columns("chain_heads", ChainHead, {"position": "integer", "hash": "bytea"})

_CONDITIONS = {
    "task_id": "task_id = %(task_id)s",
    "subject_id": "task_id = %(subject_id)s",
    "event_types": "event_type = ANY(%(event_types)s)",
    "recorded_from": "recorded_at >= %(recorded_from)s",
    "recorded_before": "recorded_at < %(recorded_before)s",
}


async def lock_heads(tx: Connection, user_ids: Collection[str]) -> dict[str, ChainHead]:
    """Locks the heads of these users' chains until the transaction ends, and returns them.

    Rows are locked in the order of the ids, so that two batches never wait for each other.
    """
    cursor = await tx.execute(
        """
        INSERT INTO chain_heads AS head (user_id, position, hash)
        SELECT user_id, 0, ''::bytea FROM unnest(%(user_ids)s::uuid[]) AS owner (user_id) ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET position = head.position
        RETURNING user_id::text, position, encode(hash, 'hex')""",
        {"user_ids": list(user_ids)},
    )
    return {user_id: ChainHead(position, digest) for user_id, position, digest in await cursor.fetchall()}


_APPEND_RECORDS = f"""
    WITH appended AS (INSERT INTO audit_records ({RECORDS.names}) SELECT * FROM {RECORDS.recordset})
    UPDATE chain_heads SET position = ending.position, hash = ending.hash
    FROM unnest(%(head_user)s::uuid[], %(head_position)s::integer[], %(head_hash)s::bytea[])
        AS ending (user_id, position, hash)
    WHERE chain_heads.user_id = ending.user_id"""


async def append_records(tx: Connection, records: Sequence[Record], heads: Mapping[str, ChainHead]) -> None:
    """Appends records, and moves the heads of their chains."""
    await tx.execute(
        _APPEND_RECORDS,
        RECORDS.rows(records)
        | {
            "head_user": list(heads),
            "head_position": [head.position for head in heads.values()],
            "head_hash": [bytes.fromhex(head.hash) for head in heads.values()],
        },
    )


def _within_bytes(conditions: str, columns: str, order: str) -> str:
    """Selects records up to the first that exceeds LARGEST_RESPONSE; the payloads that follow are not even read."""
    return f"""
        WITH page AS (SELECT * FROM audit_records WHERE {conditions} ORDER BY {order} LIMIT %(limit)s),
        audit_records AS (SELECT *, sum(payload_bytes) OVER (ORDER BY {order}) AS total_bytes FROM page)
        SELECT {columns} FROM audit_records WHERE total_bytes - payload_bytes <= {LARGEST_RESPONSE} ORDER BY {order}"""


_FITS = f"total_bytes <= {LARGEST_RESPONSE} OR total_bytes = payload_bytes"


async def list_records(connection: Connection, user_id: str, chosen: Filter, page: Page) -> tuple[list[Record], int]:
    """Lists a user's records, newest first, and says how many of them fit into one response.

    There is one more than that, which shows whether there is a next page.
    """
    values: dict[str, Any] = {name: value for name, value in chosen._asdict().items() if value not in (None, ())}
    conditions = ["user_id = %(user_id)s", *(_CONDITIONS[name] for name in values)]
    if "event_types" in values:
        values["event_types"] = list(chosen.event_types)
    for name in ("recorded_from", "recorded_before"):
        if name in values:
            values[name] = to_datetime(values[name])
    if page.after is not None:
        (values["after"],) = page.after
        conditions.append("chain_position < %(after)s")
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        _within_bytes(" AND ".join(conditions), f"{RECORDS.select}, {_FITS}", "chain_position DESC"),
        values | {"user_id": user_id, "limit": page.limit()},
    )
    rows = await cursor.fetchall()
    return [Record._make(row[:-1]) for row in rows], sum(row[-1] for row in rows)


def page_key(record: Record) -> Key:
    """The sort key of a record."""
    return [record.chain_position]


_GET_RECORD = f"SELECT {RECORDS.select} FROM audit_records WHERE user_id = %(user_id)s AND id = %(id)s"


async def get_record(connection: Connection, user_id: str, record_id: str) -> Record:
    """Reads a record; raises AuditRecordNotFound, also for another user's."""
    cursor = RECORDS.cursor(connection)
    await cursor.execute(_GET_RECORD, {"user_id": user_id, "id": record_id})
    record = await cursor.fetchone()
    if record is None:
        raise AuditRecordNotFound(audit_record_id=record_id)
    return record


async def use_snapshot(tx: Connection) -> None:
    """Makes the transaction read one snapshot of the database; must be its first statement."""
    await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


_GET_HEAD = f"SELECT {HEADS.select} FROM chain_heads WHERE user_id = %(user_id)s"


async def get_head(tx: Connection, user_id: str) -> ChainHead:
    """Reads the head of a user's chain; GENESIS when the chain is empty."""
    cursor = HEADS.cursor(tx)
    await cursor.execute(_GET_HEAD, {"user_id": user_id})
    return await cursor.fetchone() or GENESIS


async def find_link(tx: Connection, user_id: str, position: int) -> ChainHead | None:
    """Reads the position and hash of one record of a user's chain; GENESIS for position 0."""
    if position == GENESIS.position:
        return GENESIS
    cursor = HEADS.cursor(tx)
    await cursor.execute(
        """
        SELECT chain_position, encode(hash, 'hex') FROM audit_records
        WHERE user_id = %(user_id)s AND chain_position = %(position)s""",
        {"user_id": user_id, "position": position},
    )
    return await cursor.fetchone()


_LIST_CHAIN = _within_bytes("user_id = %(user_id)s AND chain_position > %(after)s", RECORDS.select, "chain_position")


async def list_chain(tx: Connection, user_id: str, *, after: int, limit: int) -> Iterator[Record]:
    """Lists the records that follow a position of a user's chain, in order, none only at its end.

    There are fewer than the limit when they are large. Each payload is decoded when it is reached.
    """
    cursor = tx.cursor(row_factory=namedtuple_row(Record))
    cursor.adapters.register_loader("jsonb", TextLoader)
    await cursor.execute(_LIST_CHAIN, {"user_id": user_id, "after": after, "limit": limit})
    rows: list[Any] = await cursor.fetchall()
    return (row._replace(payload=json.loads(row.payload)) for row in rows)
