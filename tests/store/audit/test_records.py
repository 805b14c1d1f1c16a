"""Audit records in the database."""

import asyncio
from collections import deque

import psycopg
import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.rpc.pagination import Page
from mesh.runtime.ids import new_id
from services.audit import store
from services.audit.errors import AuditRecordNotFound
from services.audit.model import GENESIS, ChainHead, Filter
from services.audit.rules import ChainVerifier
from tests.support.audit_records import Recorder, an_entry, record_all
from tests.support.plans import plan_of

ALL = Filter(None, None, (), None, None)


async def verified(connection: Connection, user_id: str) -> tuple[int, int | None]:
    """How many records a user's chain has, and the position where it is broken."""
    verifier = ChainVerifier(GENESIS)
    deque(verifier.follow(await store.list_chain(connection, user_id, after=0, limit=100)), maxlen=0)
    verifier.finish(await store.get_head(connection, user_id))
    return verifier.checked, verifier.broken


async def test_a_record_comes_back_as_it_was_written(connection: Connection, record: Recorder) -> None:
    user = new_id()
    entry = an_entry(user, title="Ünïcödé 😀", number=0.1, nothing=None, many=[1, {"a": True}])
    [written] = await record(entry, now=1_770_544_800_012_345)
    assert await store.get_record(connection, user, entry.id) == written
    assert written.recorded_at == 1_770_544_800_012_345


async def test_a_stored_record_still_has_its_hash(connection: Connection, record: Recorder) -> None:
    user = new_id()
    await record(an_entry(user, big=1e300, small=5e-324, whole=3.0, large=2**53, negative=-0.0, text="\x7f\x01"))
    assert await verified(connection, user) == (1, None)


async def test_somebody_elses_record_is_not_found(connection: Connection, record: Recorder) -> None:
    [written] = await record(an_entry(new_id()))
    with pytest.raises(AuditRecordNotFound):
        await store.get_record(connection, new_id(), written.id)


async def test_chains_of_users_are_apart(connection: Connection, record: Recorder) -> None:
    one, other = new_id(), new_id()
    await record(an_entry(one))
    await record(an_entry(other), an_entry(other))
    assert (await store.get_head(connection, one)).position == 1
    assert (await store.get_head(connection, other)).position == 2
    assert await store.get_head(connection, new_id()) == GENESIS


async def test_batches_of_one_user_that_come_at_once_make_one_chain(db: Database, connection: Connection) -> None:
    user = new_id()
    await asyncio.gather(*(record_all(db, [an_entry(user), an_entry(user)]) for _ in range(20)))
    assert await verified(connection, user) == (40, None)


async def test_batches_with_the_same_users_in_another_order_do_not_wait_for_each_other(db: Database) -> None:
    users = [new_id() for _ in range(30)]

    async def lock(order: list[str]) -> None:
        async with db.transaction() as tx:
            heads = await store.lock_heads(tx, order)
            assert len(heads) == 30

    await asyncio.gather(*(lock(users if number % 2 else users[::-1]) for number in range(12)))


async def test_an_event_is_recorded_once(record: Recorder) -> None:
    entry = an_entry(new_id())
    await record(entry)
    with pytest.raises(psycopg.errors.UniqueViolation, match="idx_audit_event_id"):
        await record(entry._replace(id=new_id()))


async def test_records_are_listed_newest_first_and_page_by_page(connection: Connection, record: Recorder) -> None:
    user = new_id()
    written = await record(*(an_entry(user) for _ in range(5)))
    first, fit = await store.list_records(connection, user, ALL, Page(2, None, b""))
    assert (first, fit) == (written[:1:-1], 3)
    after = store.page_key(first[1])
    assert await store.list_records(connection, user, ALL, Page(5, after, b"")) == (written[2::-1], 3)


async def test_a_page_of_large_records_has_one_record_more_than_fit(connection: Connection, record: Recorder) -> None:
    user = new_id()
    written = await record(*(an_entry(user, text="x" * size) for size in (2_000_000, 400_000, 400_000, 400_000, 5)))
    shown, fit = await store.list_records(connection, user, ALL, Page(50, None, b""))
    assert ([found.id for found in shown], fit) == ([one.id for one in written[:0:-1]], 3)
    rest, fit = await store.list_records(connection, user, ALL, Page(50, store.page_key(written[1]), b""))
    assert ([found.id for found in rest], fit) == ([written[0].id], 1)


async def test_filters_narrow_the_list(connection: Connection, record: Recorder) -> None:
    user, task = new_id(), new_id()
    [created] = await record(an_entry(user, task_id=task), now=10)
    [deleted] = await record(an_entry(user, task_id=task, event_type="task-deleted"), now=20)
    [other] = await record(an_entry(user), now=30)

    async def listed(**chosen: object) -> list[str]:
        asked = ALL._replace(**chosen)  # type: ignore[arg-type]
        found, _ = await store.list_records(connection, user, asked, Page(9, None, b""))
        return [one.id for one in found]

    assert await listed(subject_id=task) == [deleted.id, created.id]
    assert await listed(task_id=task) == [deleted.id, created.id]
    assert await listed(event_types=("task-deleted", "task-completed")) == [deleted.id]
    assert await listed(recorded_from=20) == [other.id, deleted.id]
    assert await listed(recorded_before=20) == [created.id]
    assert await listed(recorded_from=10, recorded_before=30, event_types=("task-created",)) == [created.id]


async def test_a_list_by_subject_reads_the_index_of_subjects(
    connection: Connection, record: Recorder, postgres: str
) -> None:
    user, session = new_id(), new_id()
    for _ in range(20):
        await record(*(an_entry(user) for _ in range(100)))
    await record(*(an_entry(user, task_id=session) for _ in range(3)))
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as administrator:
        await administrator.execute("ANALYZE audit.audit_records")
    chosen = ALL._replace(subject_id=session)
    page = Page(50, None, b"")
    plan = await plan_of(connection, lambda explained: store.list_records(explained, user, chosen, page))
    assert "Index Scan using idx_audit_task_id" in plan, plan


async def test_a_link_is_the_position_of_a_record(connection: Connection, record: Recorder) -> None:
    user = new_id()
    first, second = await record(an_entry(user), an_entry(user))
    assert await store.find_link(connection, user, 0) == GENESIS
    assert await store.find_link(connection, user, 2) == ChainHead(2, second.hash)
    assert await store.find_link(connection, user, 3) is None
    assert first.hash == second.previous_hash


@pytest.mark.parametrize("statement", [
    "UPDATE audit_records SET event_type = 'x'",
    "DELETE FROM audit_records",
    "TRUNCATE audit_records",
    "DELETE FROM chain_heads",
    "UPDATE chain_heads SET user_id = uuidv7()",
])  # fmt: skip
async def test_the_role_of_the_service_may_only_add(connection: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await connection.execute(statement)


@pytest.mark.parametrize("statement", [
    "UPDATE audit.audit_records SET event_type = 'x'",
    "UPDATE audit.audit_records SET event_type = 'x' WHERE false",
    "DELETE FROM audit.audit_records",
    "TRUNCATE audit.audit_records",
    "SET session_replication_role = replica; DELETE FROM audit.audit_records",
])  # fmt: skip
async def test_nobody_at_all_changes_a_record(postgres: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres) as administrator:
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            await administrator.execute(statement)  # type: ignore[call-overload]


async def test_the_table_has_the_columns_and_indexes_of_the_specification(postgres: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres) as administrator:
        columns = await administrator.execute(
            "SELECT column_name, data_type, character_maximum_length, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'audit' AND table_name = 'audit_records'"
        )
        assert {
            ("id", "uuid", None, "NO"),
            ("event_id", "uuid", None, "NO"),
            ("event_type", "character varying", 50, "NO"),
            ("task_id", "uuid", None, "NO"),
            ("payload", "jsonb", None, "NO"),
            ("source_service", "character varying", 100, "NO"),
            ("recorded_at", "timestamp with time zone", None, "NO"),
        } <= set(await columns.fetchall())
        indexes = await administrator.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'audit_records'")
        assert {"idx_audit_task_id", "idx_audit_event_type", "idx_audit_recorded_at", "idx_audit_event_id"} <= {
            name for (name,) in await indexes.fetchall()
        }
