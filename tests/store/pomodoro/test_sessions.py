"""Sessions in the database: what the specification says of the tables, one that runs, ends that are claimed once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events.outbox import SideEffects
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND, to_datetime
from mesh.runtime.ids import new_id
from services.pomodoro import events, wire
from services.pomodoro.cache import ChangeListener, ChangeSender, CurrentSessions, Presence, Watches
from services.pomodoro.cache.current import STAMP
from services.pomodoro.errors import FocusSessionNotFound
from services.pomodoro.jobs import IntervalEnder, PausedRetention, SessionPurger
from services.pomodoro.model import Act, AnotherRuns, Focus, Preferences, Session, Status, Task
from services.pomodoro.rules import sessions
from services.pomodoro.store import sessions as session_store
from tests.support.databases import ServiceUrl, opened

USER = new_id()
NOTHING = SideEffects([], None, "")
MINUTE = 60 * SECOND


def a_focus(user_id: str = USER, *, ago: int = 0, start: bool = True, tasks: int = 1, **plan: Any) -> Focus:
    """A session of 25 and 5 minutes that was started so long ago."""
    now, session_id = clock.now() - ago, new_id()
    empty: dict[str, Any] = dict.fromkeys(Session._fields, 0)
    unset = dict.fromkeys(
        (
            *("title", "interval_end", "as_of", "selected_task_id", "current_task_id", "outcome"),
            *("original_event_id", "slot", "planned_start_time", "planned_minutes"),
            *("start_time", "end_time", "deleted_at", "purge_at"),
        )
    )
    made = {"id": session_id, "user_id": user_id, "status": Status.PLANNED, "interval_number": 1, "version": 1}
    session = Session(**empty | unset | Preferences()._asdict() | made | plan)
    listed = [Task(new_id(), session_id, "x", None, False, at, 0, 0, None, now, now) for at in range(tasks)]
    session = session._replace(created_at=now, updated_at=now, task_count=tasks)
    return sessions.create(session, listed, Act(now, "laptop", None), start=start)


def act(now: int | None = None) -> Act:
    return Act(now or clock.now(), "laptop", None)


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("pomodoro"), "pomodoro") as database:
        yield database


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[Connection]:
    async with db.connection() as connection:
        yield connection


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(valkey, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def ender(db: Database, redis: "Redis") -> IntervalEnder:
    return IntervalEnder(db, Presence(redis, clock.now), ChangeSender(redis, Watches(9), CurrentSessions(redis)))


async def test_every_column_and_index_of_the_specification_is_there(connection: Connection) -> None:
    cursor = await connection.execute(
        "SELECT table_name || '.' || column_name, data_type, is_nullable, coalesce(column_default, '')"
        " FROM information_schema.columns WHERE table_schema = 'pomodoro'"
    )
    columns = {name: (kind, nullable, default) for name, kind, nullable, default in await cursor.fetchall()}
    instant, number = "timestamp with time zone", "integer"
    assert columns["sessions.user_id"][:2] == ("uuid", "YES")
    for name, default in (
        ("duration_pomodoro_minutes", "25"),
        ("duration_short_break_minutes", "5"),
        ("duration_long_break_minutes", "15"),
        ("long_break_interval", "4"),
        ("pomodoro_count", "0"),
        ("short_break_count", "0"),
        ("long_break_count", "0"),
    ):
        assert columns[f"sessions.{name}"] == (number, "NO", default)
    for name in ("total_focused_seconds", "progress_seconds"):
        assert columns[f"sessions.{name}"][:2] == (number, "NO")
    for name in ("start_time", "end_time", "deleted_at"):
        assert columns[f"sessions.{name}"] == (instant, "YES", "")
    for table in ("sessions", "tasks"):
        assert columns[f"{table}.created_at"] == columns[f"{table}.updated_at"] == (instant, "NO", "now()")
    assert [columns[f"tasks.{name}"] for name in ("title", "description", "is_done", "position")] == [
        ("text", "NO", ""),
        ("text", "YES", ""),
        ("boolean", "NO", "false"),
        (number, "NO", "0"),
    ]
    cursor = await connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'pomodoro'")
    indexes = " ".join(definition for (definition,) in await cursor.fetchall())
    for index in (
        "idx_sessions_user_status ON pomodoro.sessions USING btree (user_id, status)",
        "idx_sessions_start_time ON pomodoro.sessions USING btree (start_time)",
        "idx_tasks_session ON pomodoro.tasks USING btree (session_id)",
    ):
        assert index in indexes


async def test_a_session_is_read_as_it_was_written_and_by_its_owner_only(connection: Connection) -> None:
    focus = a_focus(tasks=3)
    await session_store.UserSessions(connection).save(focus, NOTHING)
    read = await session_store.UserSessions(connection).get_focus(USER, focus.session.id)
    assert read._replace(stored=None) == focus
    assert await session_store.UserSessions(connection).get_focus_of_task(USER, focus.tasks[2].id) == read
    assert (await session_store.UserSessions(connection).get_state(USER, focus.session.id)).transitions == ()
    with pytest.raises(FocusSessionNotFound):
        await session_store.UserSessions(connection).get_focus(new_id(), focus.session.id)


async def test_a_session_of_the_calendar_keeps_its_occurrence(connection: Connection) -> None:
    planned = {"slot": "2026-03-29T02:30:00", "planned_start_time": 90 * MINUTE, "planned_minutes": 50}
    focus = a_focus(original_event_id=new_id(), **planned)
    await session_store.UserSessions(connection).save(focus, NOTHING)
    read = await session_store.UserSessions(connection).get_focus(USER, focus.session.id)
    await session_store.UserSessions(connection).save(sessions.pause(read, act()), NOTHING)
    session = (await session_store.UserSessions(connection).get_focus(USER, focus.session.id)).session
    assert session.status == Status.PAUSED
    assert {name: getattr(session, name) for name in planned} == planned
    payload = events.session_paused(read).payload
    message = wire.session_to_pb(session)
    for name in ("original_event_id", "slot", "planned_minutes"):
        assert payload[name] == getattr(message, name) == getattr(session, name)
    assert clock.from_timestamp(message.planned_start_time) == 90 * MINUTE
    assert payload["planned_start_time"] == clock.to_datetime(90 * MINUTE)


@pytest.mark.parametrize("missing", ["original_event_id", "slot", "planned_start_time", "planned_minutes"])
async def test_a_session_has_a_whole_occurrence_or_none(connection: Connection, missing: str) -> None:
    planned = {"slot": "2026-03-29", "planned_start_time": MINUTE, "planned_minutes": 5, "original_event_id": new_id()}
    with pytest.raises(psycopg.errors.CheckViolation, match="sessions_planned"):
        await session_store.UserSessions(connection).save(a_focus(**planned | {missing: None}), NOTHING)


async def test_a_change_is_written_whole_or_not_at_all(connection: Connection) -> None:
    focus = a_focus(ago=10 * MINUTE, tasks=2)
    await session_store.UserSessions(connection).save(focus, SideEffects([events.session_started(focus)], None, ""))
    read = await session_store.UserSessions(connection).get_focus(USER, focus.session.id)
    paused = sessions.pause(read, act())
    await session_store.UserSessions(connection).save(paused, SideEffects([events.session_paused(paused)], None, ""))
    again = sessions.finish(read, act())
    with pytest.raises(WriteConflict):
        await session_store.UserSessions(connection).save(
            again, SideEffects([events.session_finished(again)], None, "")
        )
    stored = await session_store.UserSessions(connection).get_focus(USER, focus.session.id)
    assert stored._replace(stored=None) == paused._replace(stored=None)
    cursor = await connection.execute("SELECT version FROM outbox ORDER BY seq")
    assert await cursor.fetchall() == [(1,), (2,)]
    cursor = await connection.execute("SELECT total_focused_seconds, progress_seconds FROM sessions")
    assert await cursor.fetchall() == [(paused.session.focused // SECOND, paused.session.progress // SECOND)]


async def test_a_user_has_one_running_session(connection: Connection) -> None:
    await session_store.UserSessions(connection).save(a_focus(), NOTHING)
    with pytest.raises(AnotherRuns):
        await session_store.UserSessions(connection).save(a_focus(), NOTHING)
    await session_store.UserSessions(connection).save(a_focus(new_id()), NOTHING)


@pytest.mark.parametrize(
    "change", ["UPDATE transitions SET kind = 'pause'", "DELETE FROM transitions", "TRUNCATE transitions"]
)
async def test_transitions_are_only_ever_added(connection: Connection, change: str) -> None:
    await session_store.UserSessions(connection).save(a_focus(), NOTHING)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await connection.execute(change)


async def test_an_end_is_written_once_at_its_instant_however_many_replicas_look(
    db: Database, connection: Connection, ender: IntervalEnder
) -> None:
    due = [a_focus(new_id(), ago=26 * MINUTE, auto_start_breaks=False) for _ in range(30)]
    running = a_focus(new_id(), ago=24 * MINUTE)
    for focus in (*due, running):
        await session_store.UserSessions(connection).save(focus, NOTHING)
    others = [IntervalEnder(db, ender.presence, ender.changes) for _ in range(2)]

    async def end_all(each: IntervalEnder) -> int:
        return sum([await each.run_once() for _ in range(4)])

    assert sum(await asyncio.gather(*map(end_all, (ender, *others)))) == 30
    cursor = await connection.execute(
        "SELECT session_id::text, at FROM transitions WHERE kind = 'end' ORDER BY session_id"
    )
    ends = {focus.session.id: to_datetime(focus.session.interval_end or 0) for focus in due}
    assert dict(await cursor.fetchall()) == ends
    cursor = await connection.execute("SELECT count(*), count(DISTINCT key) FROM outbox")
    assert await cursor.fetchall() == [(30, 30)]


async def test_many_missed_ends_are_all_written(connection: Connection, ender: IntervalEnder) -> None:
    focus = a_focus(ago=121 * MINUTE, auto_start_focus=True)
    await session_store.UserSessions(connection).save(focus, NOTHING)
    while await ender.run_once():
        pass
    session = (await session_store.UserSessions(connection).get_focus(USER, focus.session.id)).session
    assert (session.interval_number, session.pomodoro_count, session.status) == (8, 4, Status.RUNNING)


async def test_the_ender_wakes_when_the_next_interval_ends(connection: Connection, ender: IntervalEnder) -> None:
    focus = a_focus(ago=25 * MINUTE - SECOND // 2)
    await session_store.UserSessions(connection).save(focus, NOTHING)
    ender.start()
    try:
        async with asyncio.timeout(10):
            while (
                await session_store.UserSessions(connection).get_focus(USER, focus.session.id)
            ).session.interval_number == 1:
                await asyncio.sleep(0.02)
        assert clock.now() - (focus.session.interval_end or 0) < SECOND // 2
    finally:
        await ender.close()


@pytest.mark.parametrize("deletes", [False, True])
async def test_sessions_that_were_paused_for_too_long_are_put_away(
    db: Database, connection: Connection, ender: IntervalEnder, deletes: bool
) -> None:
    old, recent = a_focus(new_id(), ago=31 * DAY), a_focus(new_id(), ago=29 * DAY)
    for focus in (old, recent):
        paused = sessions.pause(focus, act((focus.session.as_of or 0) + MINUTE))
        await session_store.UserSessions(connection).save(paused, NOTHING)
    retention = PausedRetention(db, ender.changes, clock.now, days=30, deletes=deletes)
    assert [await retention.run_once() for _ in range(2)] == [1, 0]
    cursor = await connection.execute("SELECT convert_from(value, 'UTF8')::jsonb FROM outbox")
    [(event,)] = await cursor.fetchall()
    assert (event["type"], event["subject"]) == ("session-deleted" if deletes else "session-archived", old.session.id)
    assert [each["seconds"] for each in event["data"]["payload"]["intervals"]] == ([] if deletes else [60])
    cursor = await connection.execute("SELECT deleted_at IS NOT NULL FROM sessions ORDER BY created_at")
    assert await cursor.fetchall() == ([(True,), (False,)] if deletes else [(False,)])


async def test_finished_sessions_go_after_a_week_and_deleted_ones_after_their_window(
    db: Database, connection: Connection
) -> None:
    for days in (6, 8):
        focus = a_focus(new_id(), ago=days * DAY)
        finished = sessions.finish(focus, act((focus.session.as_of or 0) + MINUTE))
        await session_store.UserSessions(connection).save(finished, NOTHING)
    for days in (29, 31):
        focus = a_focus(new_id(), ago=days * DAY, start=False)
        await session_store.UserSessions(connection).save(
            sessions.delete(focus, act(clock.now() - days * DAY)), NOTHING
        )
    assert [await SessionPurger(db).run_once() for _ in range(2)] == [2, 0]
    cursor = await connection.execute("SELECT count(*) FROM sessions")
    assert await cursor.fetchall() == [(2,)]
    cursor = await connection.execute(
        "SELECT count(*) FROM transitions WHERE session_id NOT IN (SELECT id FROM sessions)"
    )
    assert await cursor.fetchall() == [(0,)]


async def test_the_sessions_of_a_user_are_erased_in_batches_and_no_others(connection: Connection) -> None:
    kept = a_focus(new_id())
    for focus in (*(a_focus(start=False) for _ in range(3)), kept):
        await session_store.UserSessions(connection).save(focus, NOTHING)
    assert [await session_store.erase_sessions(connection, USER, 2) for _ in range(3)] == [2, 1, 0]
    cursor = await connection.execute("SELECT id::text FROM sessions")
    assert await cursor.fetchall() == [(kept.session.id,)]


async def test_presence_is_known_to_other_replicas_and_unknown_after_it_was_lost(redis: "Redis") -> None:
    user, instant = new_id(), clock.now()
    here, there = Presence(redis, clock.now), Presence(redis, clock.now)
    here.note(user, "laptop", instant)
    await here.run_once()
    here.note(user, "phone", instant + SECOND)
    await here.run_once()
    assert await there.last([user]) == {user: instant + SECOND}
    assert (await there.others(user, "phone"), await there.others(user, "laptop")) == (instant, instant + SECOND)
    await redis.flushall()
    assert (await there.others(user, "phone") or 0) > instant, "anybody may have been there until now"


async def test_of_a_user_who_signs_in_without_end_redis_keeps_sixteen_devices(redis: "Redis") -> None:
    user, instant = new_id(), clock.now()
    here, there = Presence(redis, clock.now), Presence(redis, clock.now)
    for number in range(16):
        here.note(user, f"device {number}", instant)
    await here.run_once()
    assert await there.last([user]) == {user: instant}
    here.note(user, "one more", instant)
    await here.run_once()
    assert not await redis.exists(f"pomodoro:present:{user}")
    assert (await there.last([user]))[user] > instant, "anybody may have been there until now"


async def test_changes_that_are_sent_together_reach_every_watch_of_another_replica(redis: "Redis") -> None:
    users, watches, cache = [new_id(), new_id(), new_id()], Watches(1), CurrentSessions(redis)
    sender, listener = ChangeSender(redis, Watches(1), CurrentSessions(redis)), ChangeListener(redis, watches, cache)
    with ExitStack() as stack:
        changed = [stack.enter_context(watches.open(user)) for user in users]
        listener.start()
        await _all_set(changed)  # what changed before the subscription may have been missed
        for event in changed:
            event.clear()
        for user in users[:2]:
            sender.send(user)
        await sender.run_once()
        await _all_set(changed[:2])
        assert not changed[2].is_set()
    await listener.close()
    for user in users[:2]:
        assert not (await cache.find(user)).stamp, "the first read after a change is not stored"
        assert (await cache.find(user)).stamp == await redis.get(STAMP + user)


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*(event.wait() for event in events))
