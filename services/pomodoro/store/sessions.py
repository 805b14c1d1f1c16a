"""Sessions with all that belongs to them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from psycopg.errors import UniqueViolation

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.database.erasure import erase_of
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Page
from mesh.runtime.clock import to_datetime
from services.pomodoro.errors import FocusSessionNotFound, SessionTaskNotFound
from services.pomodoro.model import AnotherRuns, Filter, Focus, Session, SlotTaken, Task, Transition

SESSIONS = Columns(
    "sessions",
    Session,
    {
        "id": "uuid",
        "user_id": "uuid",
        "title": "text",
        "status": "text",
        "duration_pomodoro_minutes": "integer",
        "duration_short_break_minutes": "integer",
        "duration_long_break_minutes": "integer",
        "long_break_interval": "integer",
        "auto_start_breaks": "boolean",
        "auto_start_focus": "boolean",
        "interval_number": "integer",
        "interval_end": "timestamptz",
        "progress": "bigint",
        "focused": "bigint",
        "rested": "bigint",
        "as_of": "timestamptz",
        "pomodoro_count": "integer",
        "short_break_count": "integer",
        "long_break_count": "integer",
        "interruption_count": "integer",
        "task_count": "integer",
        "selected_task_id": "uuid",
        "current_task_id": "uuid",
        "outcome": "text",
        "original_event_id": "uuid",
        "slot": "text",
        "planned_start_time": "timestamptz",
        "planned_minutes": "integer",
        "start_time": "timestamptz",
        "end_time": "timestamptz",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "deleted_at": "timestamptz",
        "purge_at": "timestamptz",
        "version": "bigint",
    },
    fixed={
        *("id", "user_id", "created_at"),
        *("original_event_id", "slot", "planned_start_time", "planned_minutes"),
    },
)
TASKS = Columns(
    "tasks",
    Task,
    {
        "id": "uuid",
        "session_id": "uuid",
        "title": "text",
        "description": "text",
        "is_done": "boolean",
        "position": "integer",
        "focused_seconds": "integer",
        "pomodoro_count": "integer",
        "todo_task_id": "uuid",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    prefix="task_",
)
TRANSITIONS = Columns(
    "transitions",
    Transition,
    {
        "session_id": "uuid",
        "number": "integer",
        "kind": "text",
        "at": "timestamptz",
        "runs": "boolean",
        "device_id": "text",
        "cause": "text",
        "gap_start": "timestamptz",
        "gap_end": "timestamptz",
        "task_id": "uuid",
    },
    prefix="transition_",
)

_NO_ROWS = "'[]'"
_ITS_TASKS = f"""
    coalesce((SELECT json_agg(json_build_array({TASKS.select}) ORDER BY tasks.position)::text
        FROM tasks WHERE tasks.session_id = sessions.id), {_NO_ROWS})"""
_ITS_TRANSITIONS = f"""
    coalesce((SELECT json_agg(json_build_array({TRANSITIONS.select}) ORDER BY transitions.number)::text
        FROM transitions WHERE transitions.session_id = sessions.id), {_NO_ROWS})"""
_STATE = f"SELECT {SESSIONS.select}, {_ITS_TASKS}, {_NO_ROWS} FROM sessions"
_WHOLE = f"SELECT {SESSIONS.select}, {_ITS_TASKS}, {_ITS_TRANSITIONS} FROM sessions"
_VISIBLE = "(purge_at IS NULL OR purge_at > now())"
_BY_ID = f"WHERE user_id = %s::uuid AND id = %s::uuid AND {_VISIBLE}"
_BY_TASK = f"WHERE user_id = %s::uuid AND id = (SELECT session_id FROM tasks WHERE id = %s::uuid) AND {_VISIBLE}"
_CURRENT = """
    WHERE user_id = %s::uuid AND status IN ('running', 'paused') AND deleted_at IS NULL
    ORDER BY status = 'running' DESC, as_of DESC, id DESC LIMIT 1"""

_OF_SLOT = """
    WHERE user_id = %s::uuid AND (id = %s::uuid OR (original_event_id = %s::uuid AND slot = %s))
        AND original_event_id IS NOT NULL AND deleted_at IS NULL AND outcome IS DISTINCT FROM 'abandoned'
    ORDER BY id IS NOT DISTINCT FROM %s::uuid DESC LIMIT 1"""

_INSERT = f"INSERT INTO sessions ({SESSIONS.names}) VALUES ({SESSIONS.values}) RETURNING id"
_SAVE = f"""
    UPDATE sessions SET {SESSIONS.assignments}
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND version = %(stored_version)s::bigint
    RETURNING id"""
_SAVE_LOCKED = f"""
    UPDATE sessions SET {SESSIONS.assignments_of_rows} FROM {SESSIONS.recordset}
    WHERE sessions.id = sessions_rows.id RETURNING sessions.id"""
_ADD_TRANSITIONS = f"""
    INSERT INTO transitions ({TRANSITIONS.names})
    SELECT * FROM {TRANSITIONS.recordset} WHERE EXISTS (SELECT FROM changed)"""
_OVERLAPPING = f"""
    {_WHOLE} WHERE user_id = %s::uuid AND start_time < %s AND (interval_end IS NOT NULL OR as_of > %s)
        AND id > %s::uuid AND {_VISIBLE} ORDER BY id LIMIT 20"""
_PUT_TASKS = f"""
    INSERT INTO tasks ({TASKS.names}) SELECT * FROM {TASKS.recordset} WHERE EXISTS (SELECT FROM changed)
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, description = excluded.description,
        is_done = excluded.is_done, position = excluded.position, focused_seconds = excluded.focused_seconds,
        pomodoro_count = excluded.pomodoro_count, todo_task_id = excluded.todo_task_id,
        updated_at = excluded.updated_at"""
_REMOVE_TASKS = "DELETE FROM tasks WHERE id = ANY(%(removed)s::uuid[]) AND EXISTS (SELECT FROM changed)"


class UserSessions:
    """The sessions of users, read and written through one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """What is saved inside is committed together at its end."""
        return self._connection.transaction()

    async def get_focus(self, user_id: str, session_id: str) -> Focus:
        """Reads a session with all that belongs to it, also a deleted one until it is purged."""
        if focus := await _find(self._connection, f"{_WHOLE} {_BY_ID}", (user_id, session_id)):
            return focus
        raise FocusSessionNotFound(focus_session_id=session_id)

    async def find_state(self, user_id: str, session_id: str) -> Focus | None:
        """Reads a session with its tasks; None when there is none."""
        return await _find(self._connection, f"{_STATE} {_BY_ID}", (user_id, session_id))

    async def get_state(self, user_id: str, session_id: str) -> Focus:
        """Reads a session with its tasks; raises FocusSessionNotFound."""
        if focus := await self.find_state(user_id, session_id):
            return focus
        raise FocusSessionNotFound(focus_session_id=session_id)

    async def get_focus_of_task(self, user_id: str, task_id: str) -> Focus:
        """Reads the whole session that a task belongs to."""
        if focus := await _find(self._connection, f"{_WHOLE} {_BY_TASK}", (user_id, task_id)):
            return focus
        raise SessionTaskNotFound(session_task_id=task_id)

    async def find_current_state(self, user_id: str) -> Focus | None:
        """Reads the running session of a user, else the one paused last, with its tasks."""
        return await _find(self._connection, f"{_STATE} {_CURRENT}", (user_id,))

    async def find_running(self, user_id: str) -> Focus | None:
        """Reads the running session of a user whole."""
        return await _find(self._connection, f"{_WHOLE} WHERE user_id = %s::uuid AND status = 'running'", (user_id,))

    async def find_of_slot(self, user_id: str, event_id: str, slot: str, known_id: str | None) -> Focus | None:
        """Reads the session of an occurrence whole, unless it is deleted or was abandoned. known_id: this one rather
        than that of the slot."""
        values = (user_id, known_id, event_id, slot, known_id)
        return await _find(self._connection, f"{_WHOLE} {_OF_SLOT}", values)

    async def list_sessions(self, user_id: str, chosen: Filter, page: Page) -> list[Session]:
        """Reads one session more than the page holds, without tasks, the newest first."""
        values: dict[str, Any] = {"user_id": user_id, "limit": page.limit(), "states": list(chosen.states)}
        conditions = ["user_id = %(user_id)s::uuid", _VISIBLE if chosen.show_deleted else "deleted_at IS NULL"]
        if chosen.states:
            conditions.append("status = ANY(%(states)s::text[])")
        if page.after is not None:
            instant, values["after_id"] = page.after
            values["after"] = to_datetime(int(instant or 0))
            conditions.append("(created_at, id) < (%(after)s::timestamptz, %(after_id)s::uuid)")
        cursor = SESSIONS.cursor(self._connection)
        await cursor.execute(
            f"""
            SELECT {SESSIONS.select} FROM sessions WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, sessions.id DESC LIMIT %(limit)s""",
            values,
        )
        return await cursor.fetchall()

    async def save(self, focus: Focus, side_effects: SideEffects) -> None:
        """Writes what changed of a session since it was read, or a new one.

        Raises WriteConflict when another write came first, AnotherRuns when the user has another running session, and
        SlotTaken when its occurrence has another session.
        """
        values, also = _what_belongs_to([focus])
        values |= SESSIONS.parameters(focus.session)
        if focus.stored is not None:
            values["stored_version"] = focus.stored.session.version
        statement = _INSERT if focus.stored is None else _SAVE
        try:
            await outbox.write(self._connection, statement, values, side_effects, also)
        except UniqueViolation as error:
            if error.diag.constraint_name == "sessions_one_running":
                raise AnotherRuns from None
            if error.diag.constraint_name == "sessions_slot":
                raise SlotTaken from None
            raise

    async def list_overlapping(self, user_id: str, begin: int, end: int, after_id: str) -> list[Focus]:
        """Reads sessions of a user whole that may have run between two instants, deleted ones too, in order of their
        ids; a few at a time, from the one after `after_id` on."""
        cursor = self._connection.cursor(binary=True)
        await cursor.execute(_OVERLAPPING, (user_id, to_datetime(end), to_datetime(begin), after_id))
        return [_focus(row) for row in await cursor.fetchall()]

    async def store_response(self, side_effects: SideEffects) -> None:
        """Stores the response of a call that changed nothing."""
        await outbox.store_response(self._connection, side_effects)


async def save_locked(tx: Connection, changed: Sequence[Focus], side_effects: SideEffects) -> None:
    """Writes in one statement what changed of sessions that this transaction has read and locked."""
    values, also = _what_belongs_to(changed)
    await outbox.write(tx, _SAVE_LOCKED, values | SESSIONS.rows([each.session for each in changed]), side_effects, also)


def _what_belongs_to(sessions: Sequence[Focus]) -> tuple[dict[str, Any], list[str]]:
    """The writes of transitions and tasks that changed since these sessions were read, and their parameters."""
    values, also = dict[str, Any](), list[str]()
    before = [each.stored or Focus(each.session, (), ()) for each in sessions]
    pairs = list(zip(sessions, before, strict=True))
    if appended := [one for now, then in pairs for one in now.transitions[len(then.transitions) :]]:
        values |= TRANSITIONS.rows(appended)
        also.append(_ADD_TRANSITIONS)
    if changed := [task for now, then in pairs for task in now.tasks if task not in then.tasks]:
        values |= TASKS.rows(changed)
        also.append(_PUT_TASKS)
    kept = {task.id for now in sessions for task in now.tasks}
    if removed := [task.id for then in before for task in then.tasks if task.id not in kept]:
        values["removed"] = removed
        also.append(_REMOVE_TASKS)
    return values, also


async def list_due(connection: Connection, limit: int) -> list[tuple[str, bool]]:
    """Reads whose intervals have ended by the database's clock, the longest due first, and whether all of them start by
    themselves."""
    cursor = await connection.execute(
        """
        SELECT user_id::text, auto_start_breaks AND auto_start_focus FROM sessions
        WHERE interval_end <= now() ORDER BY interval_end LIMIT %s""",
        (limit,),
    )
    return await cursor.fetchall()


_CLAIM_DUE = f"""
    SELECT id::text, {microseconds("now()")} FROM sessions
    WHERE interval_end <= now() AND user_id = ANY(%s::uuid[])
    ORDER BY interval_end LIMIT %s FOR UPDATE SKIP LOCKED"""
_CLAIMED = f"{_WHOLE} WHERE id = ANY(%s::uuid[]) ORDER BY interval_end, as_of"


async def claim_due(tx: Connection, user_ids: Sequence[str], limit: int) -> tuple[int, list[Focus]]:
    """Reads and locks sessions of these users whose interval has ended, and the database's clock that says so."""
    cursor = await tx.execute(_CLAIM_DUE, (list(user_ids), limit))
    rows = await cursor.fetchall()
    return (rows[0][1] if rows else 0), await _claimed(tx, [session_id for session_id, _ in rows])


async def seconds_until_due(connection: Connection) -> float | None:
    """Seconds until the next interval ends, by the database's clock; None when none runs."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(interval_end) - clock_timestamp())::float8 FROM sessions"
        " WHERE interval_end IS NOT NULL"
    )
    [seconds] = await cursor.fetchone() or (None,)
    return None if seconds is None else float(seconds)


_CLAIM_PAUSED = """
    SELECT id::text FROM sessions
    WHERE status = 'paused' AND deleted_at IS NULL AND as_of < now() - make_interval(days => %s)
    ORDER BY as_of LIMIT %s FOR UPDATE SKIP LOCKED"""


async def claim_paused(tx: Connection, days: int, limit: int) -> list[Focus]:
    """Reads and locks sessions that were paused for longer than so many days."""
    cursor = await tx.execute(_CLAIM_PAUSED, (days, limit))
    return await _claimed(tx, [session_id for (session_id,) in await cursor.fetchall()])


_REMOVE = "DELETE FROM sessions WHERE id = %(id)s::uuid AND version = %(stored_version)s::bigint RETURNING id"


async def remove(tx: Connection, focus: Focus, side_effects: SideEffects) -> None:
    """Removes a session with all that belongs to it; raises WriteConflict when another write came first."""
    version = (focus.stored or focus).session.version
    await outbox.write(tx, _REMOVE, {"id": focus.session.id, "stored_version": version}, side_effects)


async def purge(connection: Connection, finished_days: int, limit: int) -> int:
    """Removes sessions that can no longer be undeleted, and those that are finished for so long; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions WHERE purge_at <= now() ORDER BY purge_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        OR id IN (
            SELECT id FROM sessions
            WHERE status = 'finished' AND deleted_at IS NULL AND end_time < now() - make_interval(days => %(days)s)
            ORDER BY end_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED)""",
        {"limit": limit, "days": finished_days},
    )
    return cursor.rowcount


erase_sessions = erase_of("sessions")
"""With all that belongs to them."""


async def _claimed(tx: Connection, session_ids: Sequence[str]) -> list[Focus]:
    """Reads locked sessions: in a statement of its own, which sees what was committed before they were locked."""
    cursor = tx.cursor(binary=True)
    await cursor.execute(_CLAIMED, (list(session_ids),))
    return [_focus(row) for row in await cursor.fetchall()]


async def _find(connection: Connection, statement: str, values: Sequence[str | None]) -> Focus | None:
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, values)
    row = await cursor.fetchone()
    return None if row is None else _focus(row)


def _focus(row: Sequence[Any]) -> Focus:
    *session, of_tasks, of_transitions = row
    tasks, transitions = map(Task._make, orjson.loads(of_tasks)), map(Transition._make, orjson.loads(of_transitions))
    read = Focus(Session._make(session), tuple(tasks), tuple(transitions))
    return read._replace(stored=read)
