"""Goals of users."""

from datetime import date
from typing import Any

import orjson

from mesh.database.columns import microseconds
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.history.model import Goals, Vacation


async def get_goals(connection: Connection, user_id: str) -> Goals:
    """Reads the goals of a user; empty ones before the first change."""
    cursor = await connection.execute(
        f"""
        SELECT daily_minutes, weekly_minutes, days_off, vacations, version, {microseconds("updated_at")}
        FROM goals WHERE user_id = %s::uuid""",
        (user_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return Goals()
    daily, weekly, days_off, vacations, version, updated_at = row
    return Goals(daily, weekly, tuple(days_off), tuple(map(_vacation, vacations)), version, updated_at)


_SAVE = """
    INSERT INTO goals (user_id, daily_minutes, weekly_minutes, days_off, vacations, version, updated_at)
    SELECT %(user_id)s::uuid, %(daily_minutes)s::integer, %(weekly_minutes)s::integer, %(days_off)s::jsonb,
        %(vacations)s::jsonb, %(version)s::bigint, %(updated_at)s::timestamptz
    ON CONFLICT (user_id) DO UPDATE SET daily_minutes = excluded.daily_minutes,
        weekly_minutes = excluded.weekly_minutes, days_off = excluded.days_off, vacations = excluded.vacations,
        version = excluded.version, updated_at = excluded.updated_at
    WHERE goals.version = excluded.version - 1
    RETURNING user_id"""


async def save_goals(connection: Connection, user_id: str, goals: Goals, side_effects: SideEffects) -> None:
    """Writes the next version of the goals; raises WriteConflict when another write came first."""
    values: dict[str, Any] = goals._asdict() | {
        "user_id": user_id,
        "days_off": orjson.dumps(list(goals.days_off)).decode(),
        "vacations": orjson.dumps([[each.first, each.last] for each in goals.vacations]).decode(),
        "updated_at": to_datetime(goals.updated_at),
    }
    await outbox.write(connection, _SAVE, values, side_effects)


def _vacation(dates: list[str]) -> Vacation:
    first, last = map(date.fromisoformat, dates)
    return Vacation(first, last)
