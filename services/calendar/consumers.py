"""What the calendar service does with events of other services."""

from collections.abc import Sequence
from uuid import UUID

from mesh.database.connection import Connection
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import TopicSubscription
from mesh.events.outbox import Event, SideEffects
from mesh.rpc import idempotency
from mesh.runtime.clock import Clock
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.errors import EventNotFound, TooManyChanges
from services.calendar.model import CalendarEvent, Occurrence, Status
from services.calendar.rules import changes, series, starting
from services.calendar.rules.occurrences import row_of
from services.calendar.store import erasure, events, occurrences, users
from services.calendar.store.changes import save
from services.calendar.store.users import UserZones
from services.calendar.wire import sessions as session_wire

_BATCH = 2000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""
_MOVED_AT_ONCE = 20
"""Events that a change of zone reads by one statement, each with as many rows as an event may have."""
_OF_SESSIONS = ("session-started", "session-updated", "session-finished", "session-deleted")
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


async def on_user_changed(tx: Connection, event: ConsumedEvent) -> None:
    """Notes where a user is; only events without a zone of their own move, and no version of them is made."""
    zone, user_id = event.data["payload"]["time_zone"], str(UUID(event.user_id))
    before = await users.zone_of(tx, user_id)
    if not await users.set_zone(tx, user_id, zone):
        return
    after, left = _FIRST_ID, before or zone
    while floating := await events.lock_floating(tx, user_id, after, _MOVED_AT_ONCE):
        rows = await occurrences.all_rows_of(tx, [each.id for each in floating])
        moved = await in_slices(
            changes.relocated(each, rows.get(each.id, {}), left, zone, event.time) for each in floating
        )
        await save(tx, moved, SideEffects((), None, ""))
        after = floating[-1].id


async def on_user_deleted(tx: Connection, event: ConsumedEvent) -> None:
    """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
    await users.mark_deleted(tx, event.user_id)
    for erase in (erasure.erase, idempotency.erase_responses):
        while await erase(tx, event.user_id, _BATCH):
            pass


SUBSCRIPTIONS = (
    TopicSubscription(
        "user-events",
        {
            "user-registered": on_user_changed,
            "user-updated": on_user_changed,
            "user-deleted": on_user_deleted,
        },
    ),
)


class SessionFollower:
    """Keeps occurrences in step with the focus sessions that they were started as."""

    def __init__(self, zones: UserZones, clock: Clock) -> None:
        self._zones, self._clock = zones, clock

    def subscription(self) -> TopicSubscription:
        """Of a session the newest event is enough."""
        handlers = dict.fromkeys(_OF_SESSIONS, self.on_session_changed)
        return TopicSubscription("session-events", handlers, prepare=self.learn)

    async def learn(self, events: Sequence[ConsumedEvent]) -> None:
        """Reads where the users of planned sessions are, of whom nothing is stored yet."""
        for user_id in {event.user_id for event in events if session_wire.session_from_event(event) is not None}:
            await self._zones.of(user_id)

    async def on_session_changed(self, tx: Connection, event: ConsumedEvent) -> None:
        """Links a session with its occurrence, or takes it from there, and completes an occurrence that is done."""
        session = session_wire.session_from_event(event)
        if session is None:
            return
        zone = await users.lock_zone(tx, session.user_id)
        if zone is None:
            return
        known = await occurrences.find_of_session(tx, session.user_id, session.id)
        event_id, slot = (session.event_id, session.slot) if known is None else (known.event_id, known.slot)
        try:
            locked = await events.lock_event(tx, session.user_id, event_id)
        except EventNotFound:
            return
        rows = await occurrences.all_rows(tx, event_id)
        # Only now: an edit may have given it another slot while this waited for the event.
        slot = next((row.slot for row in rows.values() if row.session_id == session.id), slot)
        before = series.occurrence(locked, slot, rows.get(slot), zone)
        if before is None:
            return
        row = starting.followed(before, session)
        if row == row_of(before):
            return
        try:
            change = changes.changed(locked, locked, rows, rows | {slot: row}, zone, self._clock())
        except TooManyChanges:  # the occurrence stays as its event says
            return
        after = series.occurrence(change.event, slot, change.rows.get(slot), zone)
        if after is not None:
            message = _message(change.event, before, after)
            await save(tx, [change], SideEffects([message], None, event.traceparent))


def _message(event: CalendarEvent, before: Occurrence, after: Occurrence) -> Event:
    """What its session made of an occurrence."""
    if after.status == Status.COMPLETED and before.status != Status.COMPLETED:
        return messages.occurrence_completed(event, after)
    if row_of(after).session_id is not None:
        return messages.occurrence_started(event, after)
    return messages.event_updated(event, after)
