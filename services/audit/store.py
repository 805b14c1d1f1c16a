"""SQL of the audit log. Ids leave as text, instants as microseconds, hashes as hexadecimal."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from psycopg.rows import args_row

from mesh.database.connection import Connection
from mesh.rpc.pagination import Key, Page
from services.audit.errors import AuditRecordNotFound
from services.audit.model import GENESIS, ChainHead, Filter, Record

_RECORD = """
    id::text, user_id::text, event_id::text, event_type, task_id::text, payload, source_service,
    (extract(epoch FROM recorded_at) * 1000000)::bigint, chain_position,
    encode(previous_hash, 'hex'), encode(hash, 'hex')"""
_INSTANT = "'epoch'::timestamptz + {0} * interval '1 microsecond'"
_CONDITIONS = {
    "task_id": "task_id = %(task_id)s",
    "event_types": "event_type = ANY(%(event_types)s)",
    "recorded_from": f"recorded_at >= {_INSTANT.format('%(recorded_from)s')}",
    "recorded_before": f"recorded_at < {_INSTANT.format('%(recorded_before)s')}",
}


async def lock_heads(tx: Connection, user_ids: Collection[str]) -> dict[str, ChainHead]:
    """Where these users' chains end; nobody else can append to them before the transaction ends.

    Rows are locked in the order of the ids, so that two batches never wait for each other.
    """
    cursor = await tx.execute(
        """
        INSERT INTO chain_heads AS head (user_id, position, hash)
        SELECT user_id, 0, ''::bytea FROM unnest(%(user_ids)s::uuid[]) AS wanted (user_id) ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET position = head.position
        RETURNING user_id::text, position, encode(hash, 'hex')""",
        {"user_ids": list(user_ids)},
    )
    return {user_id: ChainHead(position, digest) for user_id, position, digest in await cursor.fetchall()}


async def append_records(tx: Connection, records: Sequence[Record], heads: Mapping[str, ChainHead]) -> None:
    """Writes records, and where their chains end now."""
    await tx.execute(
        """
        WITH appended AS (
            INSERT INTO audit_records (id, user_id, event_id, event_type, task_id, payload, source_service, recorded_at,
                chain_position, previous_hash, hash)
            SELECT id, user_id, event_id, event_type, task_id, payload, source_service,
                'epoch'::timestamptz + recorded_at * interval '1 microsecond',
                chain_position, decode(previous_hash, 'hex'), decode(hash, 'hex')
            FROM unnest(%(id)s::uuid[], %(user_id)s::uuid[], %(event_id)s::uuid[], %(event_type)s::text[],
                %(task_id)s::uuid[], %(payload)s::jsonb[], %(source_service)s::text[], %(recorded_at)s::bigint[],
                %(chain_position)s::integer[], %(previous_hash)s::text[], %(hash)s::text[])
                AS record (id, user_id, event_id, event_type, task_id, payload, source_service, recorded_at,
                    chain_position, previous_hash, hash))
        UPDATE chain_heads AS head SET position = ending.position, hash = decode(ending.hash, 'hex')
        FROM unnest(%(head_user)s::uuid[], %(head_position)s::integer[], %(head_hash)s::text[])
            AS ending (user_id, position, hash)
        WHERE head.user_id = ending.user_id""",
        _columns(records)
        | {
            "head_user": list(heads),
            "head_position": [link.position for link in heads.values()],
            "head_hash": [link.hash for link in heads.values()],
        },
    )


async def list_records(connection: Connection, user_id: str, chosen: Filter, page: Page) -> list[Record]:
    """A user's records, newest first; one more than the page holds, so that the caller knows whether it is the last."""
    values = {name: value for name, value in chosen._asdict().items() if value not in (None, ())}
    conditions = [_CONDITIONS[name] for name in values]
    if "event_types" in values:
        values["event_types"] = list(chosen.event_types)
    if page.after is not None:
        (values["after"],) = page.after
        conditions.append("chain_position < %(after)s")
    return await _records(
        connection,
        f"SELECT {_RECORD} FROM audit_records WHERE {' AND '.join(['user_id = %(user_id)s', *conditions])}"
        " ORDER BY chain_position DESC LIMIT %(limit)s",
        values | {"user_id": user_id, "limit": page.limit()},
    )


def page_key(record: Record) -> Key:
    """The sort key of a record."""
    return [record.chain_position]


async def get_record(connection: Connection, user_id: str, record_id: str) -> Record:
    """One record; raises AuditRecordNotFound, also when it is somebody else's."""
    found = await _records(
        connection,
        f"SELECT {_RECORD} FROM audit_records WHERE user_id = %(user_id)s AND id = %(id)s",
        {"user_id": user_id, "id": record_id},
    )
    if not found:
        raise AuditRecordNotFound(audit_record_id=record_id)
    return found[0]


async def freeze(tx: Connection) -> None:
    """Makes a transaction see one moment only; the first statement of it."""
    await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def get_head(tx: Connection, user_id: str) -> ChainHead:
    """Where a user's chain ends; the start when it is empty."""
    return (
        await _link(
            tx,
            "SELECT position, encode(hash, 'hex') FROM chain_heads WHERE user_id = %(user_id)s",
            {"user_id": user_id},
        )
        or GENESIS
    )


async def get_link(tx: Connection, user_id: str, position: int) -> ChainHead | None:
    """A place in a user's chain, as the record there has it; None when no record is there."""
    if position == GENESIS.position:
        return GENESIS
    return await _link(
        tx,
        "SELECT chain_position, encode(hash, 'hex') FROM audit_records"
        " WHERE user_id = %(user_id)s AND chain_position = %(position)s",
        {"user_id": user_id, "position": position},
    )


async def list_chain(tx: Connection, user_id: str, *, after: int, limit: int) -> list[Record]:
    """The records that follow a place in a user's chain, in order."""
    return await _records(
        tx,
        f"SELECT {_RECORD} FROM audit_records WHERE user_id = %(user_id)s AND chain_position > %(after)s"
        " ORDER BY chain_position LIMIT %(limit)s",
        {"user_id": user_id, "after": after, "limit": limit},
    )


async def _records(connection: Connection, sql: str, values: Mapping[str, Any]) -> list[Record]:
    async with connection.cursor(row_factory=args_row(Record)) as cursor:
        await cursor.execute(sql, values)
        return await cursor.fetchall()


async def _link(tx: Connection, sql: str, values: Mapping[str, Any]) -> ChainHead | None:
    async with tx.cursor(row_factory=args_row(ChainHead)) as cursor:
        await cursor.execute(sql, values)
        return await cursor.fetchone()


def _columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    columns = dict(zip(Record._fields, map(list, zip(*records, strict=True)), strict=True))
    columns["payload"] = [orjson.dumps(record.payload).decode() for record in records]
    return columns
