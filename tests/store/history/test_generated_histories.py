"""Two years of sessions of people who travel: every figure adds up to the second, also rebuilt and replayed.

HISTORY_SESSIONS=10000 makes as many sessions; each user has a hundred.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from mesh.database.pool import Database
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.ids import new_id
from services.history.consumers import Recorder
from services.history.handlers import rebuild
from services.history.model import Person, Zone
from services.history.store import people
from services.pomodoro.model import IntervalKind
from services.pomodoro.rules import sessions
from tests.support import focus_events, user_events
from tests.support.focus_events import Timer, a_random_session, consumed

SESSIONS = int(os.environ.get("HISTORY_SESSIONS", "400"))
EACH = 100
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Pacific/Auckland", "Pacific/Honolulu")
HOUR = 3600
SPAN = 730 * DAY
pytestmark = pytest.mark.timeout(1200 if SESSIONS > 1000 else 60)


class Traveller(NamedTuple):
    """A user, where they were, and their sessions."""

    user_id: str
    day_start_minutes: int
    zones: list[tuple[int, str]]
    timers: list[Timer]

    def events(self) -> list[Event]:
        """Of the user."""
        return [
            user_events.a_user_event(self.user_id, "user-updated", version=index + 1)._replace(
                time=since,
                payload={
                    **{"name": None, "time_zone": zone, "week_start": "monday"},
                    "day_start_minutes": self.day_start_minutes,
                },
            )
            for index, (since, zone) in enumerate(self.zones)
        ]

    async def fetch(self, _user_id: str) -> Person:
        """Where auth says that the user is, in the end."""
        zone = Zone(clock.now(), self.zones[-1][1], self.day_start_minutes)
        return Person(self.user_id, (zone,), "monday", False)


def a_traveller(rng: random.Random, first: int) -> Traveller:
    user_id, at, zones, timers = new_id(), first, [(first, rng.choice(ZONES))], []
    for _ in range(EACH):
        at += int(rng.uniform(0.2, 1.8) * SPAN / EACH)
        timer = a_random_session(user_id, at, rng)
        timers.append(timer)
        if rng.random() < 0.15:
            # Where the user goes, mostly after the session, sometimes while the timer runs.
            zones.append((timer.now - rng.choice([-HOUR, 600]) * SECOND, rng.choice(ZONES)))
        at = max(at, timer.now)
    return Traveller(user_id, rng.choice([0, 240]), zones, timers)


def worked(timer: Timer) -> Iterator[tuple[int, int]]:
    """When each focus interval of a session ran."""
    for interval in sessions.timeline_of(timer.focus).intervals:
        if interval.kind is IntervalKind.FOCUS:
            yield from interval.spans


def whole_seconds(timer: Timer) -> Iterator[int]:
    """When each whole second of work was complete: the instant just before."""
    before = 0
    for begin, end in worked(timer):
        first = -before % SECOND or SECOND
        yield from range(begin + first - 1, end, SECOND)
        before += end - begin


@lru_cache(maxsize=100_000)
def offset(zone: str, quarter: int) -> int:
    """Seconds from UTC in a quarter of an hour."""
    shift = datetime.fromtimestamp(quarter * 900, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return int((shift or timedelta()).total_seconds())


def expected_days(traveller: Traveller) -> Counter[date]:
    """Seconds of work by date, counted one by one."""
    days: Counter[date] = Counter()
    for timer in traveller.timers:
        for instant in whole_seconds(timer) if timer.focus.session.deleted_at is None else ():
            zone = next((name for since, name in reversed(traveller.zones) if since <= instant), traveller.zones[0][1])
            seconds = instant // SECOND
            local = seconds + offset(zone, seconds // 900) - traveller.day_start_minutes * 60
            days[date(1970, 1, 1) + timedelta(days=local // 86400)] += 1
    return days


async def apply(db: Database, recorder: Recorder, events: Sequence[Event], topic: str, batch: int) -> None:
    inbox, read = Inbox(db, recorder.subscriptions()), consumed(events, topic)
    for begin in range(0, len(read), batch):
        await inbox.apply(read[begin : begin + batch])


async def content(db: Database) -> dict[str, list[str]]:
    """Every row that history keeps of sessions, without what two databases make differently."""
    tables = {
        "sessions_archive": "*",
        "session_tasks": "*",
        "recorded_sessions": "*",
        "session_days": "*",
        "task_titles": "*",
        "daily_user_aggregates": "user_id, date_date, total_pomodoros, total_focused_seconds, total_break_seconds,"
        " total_planned_seconds",
    }
    found = {}
    async with db.connection() as connection:
        for table, columns in tables.items():
            cursor = await connection.execute(
                f"SELECT kept::text FROM (SELECT {columns} FROM {table}) AS kept ORDER BY 1"
            )
            found[table] = [row for (row,) in await cursor.fetchall()]
    return found


async def differing_breaks(db: Database) -> list[tuple[str, int, int]]:
    """Sessions whose breaks have other seconds in the archive than on all days: id, and both."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            """
            SELECT id::text, total_break_seconds, coalesce(rested, 0) FROM sessions_archive LEFT JOIN (
                SELECT session_id, sum(break_seconds)::integer AS rested FROM session_days GROUP BY session_id
            ) AS days ON session_id = id WHERE deleted_at IS NULL AND total_break_seconds <> coalesce(rested, 0)"""
        )
        return await cursor.fetchall()


async def figures_of_archive(db: Database) -> dict[str, tuple[int, int]]:
    """Seconds and pomodoros of each session."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT id::text, total_focused_seconds, pomodoro_count FROM sessions_archive WHERE deleted_at IS NULL"
        )
        return {session_id: (seconds, pomodoros) for session_id, seconds, pomodoros in await cursor.fetchall()}


async def figures_of_days(db: Database) -> tuple[dict[str, dict[date, int]], Counter[str]]:
    """Seconds of each day, and pomodoros in all, by user."""
    days, pomodoros = defaultdict[str, dict[date, int]](dict), Counter[str]()
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT user_id::text, date_date, total_focused_seconds, total_pomodoros FROM daily_user_aggregates"
        )
        for user_id, day, seconds, count in await cursor.fetchall():
            pomodoros[user_id] += count
            if seconds:
                days[user_id][day] = seconds
    return days, pomodoros


async def test_generated_histories_add_up_to_the_second_rebuilt_and_replayed(databases: list[Database]) -> None:
    rng, first = random.Random(10), clock.now() - SPAN - 200 * DAY  # noqa: S311 (not a secret)
    travellers = {each.user_id: each for each in (a_traveller(rng, first) for _ in range(SESSIONS // EACH))}
    everything = [event for each in travellers.values() for timer in each.timers for event in timer.events]
    everything.sort(key=lambda event: event.time)
    moves = sorted((event for each in travellers.values() for event in each.events()), key=lambda event: event.time)
    db, empty = databases

    async def fetch(user_id: str) -> Person:
        return await travellers[user_id].fetch(user_id)

    # Sessions and moves as they happen, but every tenth move a year late.
    late = moves[5::10]
    happening = sorted([*everything, *(move for move in moves if move not in late)], key=lambda event: event.time)
    recorder = Recorder(db, fetch)
    for event in range(0, len(happening), 300):
        chunk = happening[event : event + 300]
        for topic in (user_events.TOPIC, focus_events.TOPIC):
            await apply(db, recorder, [each for each in chunk if topic in each.topics], topic, 100)
    await apply(db, recorder, late, user_events.TOPIC, 100)
    recorded = await content(db)

    live = [timer for each in travellers.values() for timer in each.timers if timer.focus.session.deleted_at is None]
    of_archive, (days, pomodoros) = await figures_of_archive(db), await figures_of_days(db)
    assert await differing_breaks(db) == []
    assert of_archive == {
        timer.id: (sum(1 for _ in whole_seconds(timer)), timer.focus.session.pomodoro_count) for timer in live
    }
    for traveller in travellers.values():
        assert days[traveller.user_id] == expected_days(traveller)
        mine = [of_archive[timer.id] for timer in traveller.timers if timer.id in of_archive]
        assert pomodoros[traveller.user_id] == sum(count for _, count in mine)
        assert sum(days[traveller.user_id].values()) == sum(seconds for seconds, _ in mine)

    for user_id in travellers:
        async with db.transaction() as tx:
            assert (await rebuild(tx, (await people.lock(tx, [user_id]))[user_id]))[1] == 0
    assert await content(db) == recorded

    # From offset 0 into an empty schema, where moves come after sessions and batches are others.
    recorder = Recorder(empty, fetch)
    await apply(empty, recorder, everything, focus_events.TOPIC, 170)
    await apply(empty, recorder, moves, user_events.TOPIC, 170)
    replayed = await content(empty)
    assert {table: len(rows) for table, rows in replayed.items()} == {
        table: len(rows) for table, rows in recorded.items()
    }
    assert replayed == recorded
