"""How Postgres reads the archive and the figures: by index, and only the partitions asked for."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.rpc.pagination import Page
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.history.model import Group, Recorded, Window
from services.history.store import archive, figures, goals, partitions, people, recordings
from stack.database import Cluster

ANN = "00000000-0000-7000-8000-000000000007"
FILL = """
    INSERT INTO {table} SELECT {columns}
    FROM generate_series(1, 100) AS person, generate_series(0, 599) AS number,
        LATERAL (SELECT '2025-01-01'::timestamptz + number * interval '24 hours' AS at,
            lpad(to_hex(person * 1000 + number), 12, '0') AS digits,
            ('00000000-0000-7000-8000-' || lpad(person::text, 12, '0'))::uuid AS owner) AS each,
        LATERAL (SELECT ('00000000-0000-7000-9000-' || digits)::uuid AS session) AS made"""
ROWS = {
    "sessions_archive (id, user_id, status, total_focused_seconds, created_at)": "session, owner, 'finished', 1500, at",
    "session_tasks (id, archived_session_id, tasks, created_at)": "session, session, '[]', at",
    "recorded_sessions (id, user_id, begin_time, end_time, intervals, archived_at)": "session, owner, at, at, '[]', at",
    "session_days": "owner, session, at::date, number % 24, session, 1500, 0, 1, 1500",
    "task_titles": "owner, session, 'Write'",
    "daily_user_aggregates (user_id, date_date, total_focused_seconds)": "owner, at::date, 1500",
}
USERS = """
    INSERT INTO {table} (user_id{columns})
    SELECT ('00000000-0000-7000-8000-' || lpad(person::text, 12, '0'))::uuid{values}
    FROM generate_series(1, 5000) AS person"""


def instant(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * SECOND


@pytest.fixture
async def filled(databases: list[Database], cluster: Cluster, history_urls: list[str]) -> Database:
    """A hundred users with six hundred sessions each, from January 2025 on, with the statistics of autovacuum."""
    db = databases[0]
    async with db.connection() as connection:
        months = [instant(2025 + month // 12, month % 12 + 1) for month in range(20)]
        await partitions.make(connection, months)
        for table, columns in ROWS.items():
            await connection.execute(FILL.format(table=table, columns=columns))
        await connection.execute(USERS.format(table="users", columns="", values=""))
        await connection.execute(USERS.format(table="goals", columns=", version, updated_at", values=", 1, now()"))
    name = history_urls[0].rpartition("/")[2]
    with psycopg.connect(cluster.administrator_url(name), autocommit=True) as administrator:
        administrator.execute("VACUUM ANALYZE")
    return db


class Recorder(psycopg.AsyncCursor[Any]):
    """Notes what is executed."""

    executed: list[tuple[Any, Any]] = []  # noqa: RUF012 (one list for all cursors)

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "Recorder":
        self.executed.append((query, params))
        return await super().execute(query, params, **options)


async def plans(db: Database, read: Callable[[Connection], Awaitable[object]]) -> list[dict[str, Any]]:
    """The nodes of the plans of every statement of a read that were executed."""
    Recorder.executed.clear()
    async with db.connection() as connection:
        connection.cursor_factory = Recorder
        try:
            await read(connection)
        finally:
            connection.cursor_factory = psycopg.AsyncCursor
        nodes = []
        for query, params in list(Recorder.executed):
            cursor = await connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", params)
            [[plan]] = [await cursor.fetchone() or ()]
            nodes += list(_nodes(plan[0]["Plan"]))
    return [node for node in nodes if node["Actual Loops"]]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def scanned(nodes: list[dict[str, Any]]) -> set[str]:
    """The months of the archive that were read."""
    names = {node.get("Relation Name", "") for node in nodes}
    return {name.rpartition("_")[2] for name in names if name.startswith(("sessions_archive_", "session_tasks_"))}


def page(after: list[Any] | None = None) -> Page:
    return Page(50, after, b"")


RAN = Recorded(new_id(), ANN, instant(2025, 7, 5), instant(2025, 7, 7) + 1, (), {}, None, None, None)
READS: dict[str, tuple[Callable[[Connection], Awaitable[object]], set[str]]] = {
    "a month of the archive": (
        lambda it: archive.list_sessions(it, ANN, Window(instant(2025, 6), instant(2025, 7)), page()),
        {"202506"},
    ),
    "from a day to a day": (
        lambda it: archive.list_sessions(it, ANN, Window(instant(2025, 6, 20), instant(2025, 8, 3)), page()),
        {"202506", "202507", "202508"},
    ),
    "the newest sessions": (
        lambda it: archive.list_sessions(it, ANN, Window(None, None), page()),
        {"202607", "202608"},
    ),
    "the next page": (
        lambda it: archive.list_sessions(it, ANN, Window(None, None), page([instant(2025, 3, 20), new_id()])),
        {"202502", "202503", "202501"},
    ),
    "the first page of an export": (
        lambda it: archive.list_sessions(it, ANN, Window(None, None), page(), ascending=True),
        {"202501", "202502"},
    ),
    "one session": (
        lambda it: archive.get(it, ANN, f"00000000-0000-7000-9000-{7 * 1000 + 200:012x}", include_cold=False),
        {"202507"},
    ),
    "what was added by hand while a session ran": (
        lambda it: recordings.list_by_hand(it, [RAN], 50),
        set(),
    ),
    **{
        f"a summary by {group}": (
            lambda it, group=group: figures.summarize(  # type: ignore[misc]  # bound now
                it, ANN, date(2025, 1, 1), date(2026, 1, 1), group, 1, page()
            ),
            set(),
        )
        for group in Group
    },
    "a heatmap": (lambda it: figures.list_days(it, ANN, date(2025, 1, 1), date(2026, 1, 1)), set()),
    "a streak": (lambda it: figures.list_qualifying(it, ANN, seconds=60, pomodoros=0), set()),
    "goals": (lambda it: goals.get_goals(it, ANN), set()),
    "a user": (lambda it: people.get_person(it, ANN), set()),
}


async def test_reads_use_indexes_and_only_the_partitions_asked_for(filled: Database) -> None:
    for name, (read, months) in READS.items():
        nodes = await plans(filled, read)
        kinds = {(node["Node Type"], node.get("Relation Name")) for node in nodes}
        assert not [kind for kind in kinds if kind[0] == "Seq Scan"], (name, kinds)
        assert scanned(nodes) <= months, (name, scanned(nodes))
        assert bool(scanned(nodes)) == bool(months), name
