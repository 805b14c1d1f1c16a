"""Partitions of the archive: made ahead, detached after the retention, readable and erased there."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest

from mesh.database.pool import Database
from mesh.events.inbox import Inbox
from mesh.rpc.pagination import Page
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.history.consumers import Recorder
from services.history.errors import ArchivedSessionNotFound
from services.history.jobs import PartitionKeeper, SessionPurger
from services.history.model import Archived, Person, Window, Zone
from services.history.rules import windows
from services.history.store import archive, erasure, partitions
from tests.support.focus_events import Timer, consumed

NOW = clock.now()
HOT_FROM = windows.hot_from(NOW, 365)
OLD, OLDER = HOT_FROM - 10 * DAY, HOT_FROM - 40 * DAY
HOT, ALL = Window(None, None), Window(None, None, include_cold=True)


async def at_home(user_id: str) -> Person:
    return Person(user_id, (Zone(0, "UTC", 0),), "monday", False)


async def record(db: Database, *timers: Timer) -> None:
    """Applies what happened to sessions."""
    recorder = Recorder(db, at_home)
    await Inbox(db, recorder.subscriptions()).apply(consumed(event for timer in timers for event in timer.events))


async def listed(db: Database, user_id: str, window: Window, page: Page | None = None, **order: bool) -> list[Archived]:
    async with db.connection() as connection:
        found, _ = await archive.list_sessions(connection, user_id, window, page or Page(50, None, b""), **order)
    return found


async def months(db: Database) -> set[str]:
    """The partitions that are attached."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sessions_archive'::regclass"
        )
        return {name.rpartition("_")[2] for (name,) in await cursor.fetchall()}


def keeper(db: Database) -> PartitionKeeper:
    return PartitionKeeper(db, lambda: NOW, months_ahead=12, retention_days=365)


async def keep(db: Database) -> None:
    """Runs the task until there is nothing to do."""
    while await keeper(db).run_once():
        pass


async def test_partitions_are_made_a_year_ahead_and_once(databases: list[Database]) -> None:
    db = databases[0]
    made = await asyncio.gather(*(keeper(db).run_once() for _ in range(4)))
    assert sum(made) == 13
    ahead = [datetime.fromtimestamp(windows.months_ahead(NOW, count) / SECOND, UTC) for count in range(13)]
    assert await months(db) == {f"{month:%Y%m}" for month in ahead}


async def test_no_row_is_ever_without_a_partition(databases: list[Database]) -> None:
    user_id = new_id()
    timers = [Timer(user_id, NOW - days * DAY).after(1600).finish() for days in (1, 400, 4000)]
    await record(databases[0], *timers)
    assert {row.id for row in await listed(databases[0], user_id, HOT)} == {timer.id for timer in timers}


async def test_the_service_has_no_ddl_and_no_way_into_cold_storage(databases: list[Database]) -> None:
    await record(databases[0], Timer(new_id(), OLD).after(1600).finish())
    await keep(databases[0])
    for statement in (
        "CREATE TABLE mine (id integer)",
        "DROP TABLE sessions_archive",
        "SELECT FROM history_cold.sessions_archive_202501",
        "CREATE TABLE history_cold.mine (id integer)",
    ):
        async with databases[0].connection() as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement)


async def test_months_go_into_cold_storage_where_they_are_read_on_request(databases: list[Database]) -> None:
    db, user_id, other = databases[0], new_id(), new_id()
    timers = [
        Timer(user_id, begin, titles=["Write"]).after(1600).finish()
        for begin in (OLDER, OLDER + DAY, OLD, NOW - 2 * DAY, NOW - DAY)
    ]
    foreign = Timer(other, OLD).after(1600).finish()
    await record(db, *timers, foreign)
    before = await listed(db, user_id, HOT)
    await keep(db)
    assert [row.id for row in await listed(db, user_id, HOT)] == [timers[4].id, timers[3].id]
    assert await listed(db, user_id, ALL) == before
    assert await listed(db, user_id, ALL, ascending=True) == before[::-1]
    assert await listed(db, user_id, ALL._replace(begin=OLD, end=NOW - 2 * DAY)) == before[2:3]
    paged: list[Archived] = []
    while len(paged) < len(before):
        after = archive.page_key(paged[-1]) if paged else None
        paged += (await listed(db, user_id, ALL, Page(1, after, b"")))[:1]
    assert paged == before
    async with db.connection() as connection:
        found, tasks, is_cold = await archive.get(connection, user_id, timers[0].id, include_cold=True)
        assert (found, is_cold, tasks[0].title) == (before[-1], True, "Write")
        for asking, cold in ((user_id, False), (other, True)):
            with pytest.raises(ArchivedSessionNotFound):
                await archive.get(connection, asking, timers[0].id, include_cold=cold)
        rows, cold_ids = await archive.list_sessions(connection, user_id, ALL, Page(50, None, b""))
        of_all = await archive.list_tasks(connection, user_id, rows, cold_ids)
    assert set(of_all) == {timer.id for timer in timers}


async def test_a_write_to_a_cold_month_brings_it_back(databases: list[Database]) -> None:
    db, user_id = databases[0], new_id()
    first, late = Timer(user_id, OLD).after(1600).finish(), Timer(user_id, OLD + 7200 * SECOND).after(1600).finish()
    await record(db, first)
    await keep(db)
    assert not await listed(db, user_id, HOT)
    await record(db, late)
    assert {row.id for row in await listed(db, user_id, HOT)} == {first.id, late.id}
    await keep(db)
    assert {row.id for row in await listed(db, user_id, ALL)} == {first.id, late.id}


async def test_a_month_waits_for_sessions_that_can_still_be_undeleted(databases: list[Database]) -> None:
    db, user_id = databases[0], new_id()
    gone, kept = Timer(user_id, OLD).after(1600).finish(), Timer(user_id, OLD + DAY).after(1600).finish()
    await record(db, gone.after(60).delete(), kept)
    await keep(db)
    assert [row.id for row in await listed(db, user_id, HOT)] == [kept.id]
    assert await SessionPurger(db).run_once() == 1
    await keep(db)
    assert not await listed(db, user_id, HOT._replace(show_deleted=True))
    assert [row.id for row in await listed(db, user_id, ALL)] == [kept.id]


async def test_what_a_user_has_in_cold_storage_is_erased_and_nobody_elses(databases: list[Database]) -> None:
    db, user_id, other = databases[0], new_id(), new_id()
    timers = [Timer(user_id, begin).after(1600).finish() for begin in (OLDER, OLD)]
    await record(db, *timers, Timer(other, OLD).after(1600).finish())
    await keep(db)
    async with db.transaction() as tx:
        assert [await erasure.erase_cold(tx, user_id, 1) for _ in range(3)] == [1, 1, 0]
    assert not await listed(db, user_id, ALL)
    assert len(await listed(db, other, ALL)) == 1


async def test_while_the_archive_is_in_use_nothing_is_detached(databases: list[Database]) -> None:
    db = databases[0]
    await record(db, Timer(new_id(), OLD).after(1600).finish())
    async with db.transaction() as reader, db.connection() as connection:
        await reader.execute("SELECT count(*) FROM sessions_archive")
        assert await partitions.freeze(connection, HOT_FROM) == 0
    async with db.connection() as connection:
        assert await partitions.freeze(connection, HOT_FROM) == 1


async def test_a_deletion_reaches_a_session_in_cold_storage(databases: list[Database]) -> None:
    db, user_id = databases[0], new_id()
    timer = Timer(user_id, OLD).after(1600).finish()
    await record(db, timer)
    await keep(db)
    assert not await listed(db, user_id, HOT)
    timer.now = NOW
    await record(db, timer.delete())
    assert not await listed(db, user_id, ALL)
    [deleted] = await listed(db, user_id, HOT._replace(show_deleted=True))
    assert (deleted.id, deleted.deleted_at) == (timer.id, NOW)
