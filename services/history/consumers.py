"""What the history service does with events of other services."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent, traced
from mesh.events.inbox import TopicSubscription
from mesh.events.outbox import SideEffects
from mesh.rpc import idempotency
from mesh.runtime.slices import in_slices
from services.history import events, wire
from services.history.model import Person, PlannedOccurrence, Record, Recorded
from services.history.rules import days, sessions, windows
from services.history.store import archive, erasure, partitions, people, plans, recordings
from services.history.wire import plans as plan_wire

_FIGURES, _SESSIONS, _RESPONSES = 2000, 500, 5000
"""Rows of one statement: however many a user has, it ends long before the statement timeout."""


class Recorder:
    """Keeps the history of users as their sessions go on."""

    def __init__(self, db: Database, fetch: Callable[[str], Awaitable[Person]]) -> None:
        """fetch: reads where a user is whose events have not arrived yet."""
        self._db, self._fetch = db, fetch

    def subscriptions(self) -> list[TopicSubscription]:
        """Where a user was counts from every event, in whatever order: an older one is not dropped as stale."""
        on_user = {
            "user-registered": self.on_user_changed,
            "user-updated": self.on_user_changed,
            "user-deleted": self.on_user_deleted,
        }
        return [
            TopicSubscription("session-events", batch=self.on_session_events, prepare=self.learn),
            TopicSubscription("calendar-events", batch=self.on_calendar_events, prepare=self.learn),
            TopicSubscription("user-events", on_user, drop_stale=False),
        ]

    async def learn(self, events: Sequence[ConsumedEvent]) -> None:
        """Reads what must be known of the users before their sessions can be split into days."""
        await people.learn(self._db, {event.user_id for event in events}, self._fetch)

    async def on_session_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Stores a batch: of each session what its last event shows, which is everything."""
        with traced(events) as traceparents:
            known = await people.lock(tx, (event.user_id for event in events))
            newest = {
                event.subject: event._replace(traceparent=traceparent)
                for event, traceparent in zip(events, traceparents, strict=True)
                if not known[event.user_id].is_deleted
            }
            stored = await recordings.find(tx, newest)
            read = await in_slices(_read(event, stored.get(event.subject)) for event in newest.values())
            ran = [each for each, _ in read if each is not None]
            joining = [each for _, each in read if each is not None]
            by_hand = await recordings.list_by_hand(tx, ran, sessions.MOST_TAKEN)
            recorded = await in_slices(sessions.without(each, by_hand.get(each.id, ())) for each in ran)
            changed = [each for each in recorded if each != stored.get(each.id)]
            await recordings.put_titles(
                tx, {title for event in newest.values() for title in wire.titles_from_event(event)}
            )
            if changed:
                await recordings.put(tx, changed)
                await _split(tx, changed, known)
            if over := {each.id: each for each in recorded if each.archived_at is not None}:
                there = [each for each in stored.values() if each.archived_at is not None]
                await _archive(tx, over, newest, joining, there)

    async def on_calendar_events(self, tx: Connection, events: Sequence[ConsumedEvent]) -> None:
        """Stores of a batch what was planned of occurrences that ended or were started, and what became of them."""
        with traced(events):
            known = await people.lock(tx, (event.user_id for event in events))
            shown = await in_slices(
                (event, plan_wire.occurrence_from_event(event, known[event.user_id].zones))
                for event in events
                if not known[event.user_id].is_deleted
            )
            about = [(event, each) for event, each in shown if each is not None]
            if over := [each for event, each in about if plan_wire.is_history(event, each)]:
                await plans.add(tx, _first_of_each(over))
            for told in _rounds([each for _, each in about]):
                await plans.tell(tx, told)

    async def on_user_changed(self, tx: Connection, event: ConsumedEvent) -> None:
        """Notes where a user is since then, and splits again what ran since then."""
        zone, week_start = wire.zone_from_event(event)
        await people.add(tx, Person(event.user_id, (zone,), week_start, False))
        person = (await people.lock(tx, [event.user_id]))[event.user_id]
        if person.is_deleted:
            return
        is_last = zone.since >= person.zones[-1].since
        changed = person._replace(
            zones=days.with_zone(person.zones, zone), week_start=week_start if is_last else person.week_start
        )
        if changed != person:
            await people.save(tx, changed)
        for since, until in days.affected(person.zones, changed.zones):
            await split_again(tx, changed, since, until)
            await _date_again(tx, changed, since, until)

    async def on_user_deleted(self, tx: Connection, event: ConsumedEvent) -> None:
        """Erases everything of a user whose account was deleted; what the outbox still holds is published."""
        await erasure.mark_deleted(tx, event.user_id)
        for erase, limit in (
            (erasure.erase_figures, _FIGURES),
            (erasure.erase_sessions, _SESSIONS),
            (erasure.erase_cold, _SESSIONS),
            (idempotency.erase_responses, _RESPONSES),
        ):
            while await erase(tx, event.user_id, limit):
                pass


async def split_again(tx: Connection, person: Person, since: int | None, until: int | None) -> None:
    """Splits the sessions of a locked user again that ran between two instants."""
    after: Recorded | None = None
    while page := await recordings.list_between(tx, person.user_id, since, until, after):
        await _split(tx, page, {person.user_id: person})
        after = page[-1]


async def _date_again(tx: Connection, person: Person, since: int | None, until: int | None) -> None:
    """Finds the dates again of what a locked user planned between two instants."""
    after: PlannedOccurrence | None = None
    while page := await plans.list_between(tx, person.user_id, since, until, after):
        dated = await in_slices(each._replace(local_date=days.date_at(person.zones, each.start_time)) for each in page)
        await plans.put_dates(tx, dated)
        after = page[-1]


def _first_of_each(occurrences: Sequence[PlannedOccurrence]) -> list[PlannedOccurrence]:
    """Those whose place and session did not come before: an edit may have given one another event or slot."""
    seen = set[object]()
    first = []
    for each in occurrences:
        names = {each.place, each.session_id} - {None}
        if seen.isdisjoint(names):
            first.append(each)
        seen |= names
    return first


def _rounds(occurrences: Sequence[PlannedOccurrence]) -> Iterator[list[PlannedOccurrence]]:
    """The last of each place, in their order, as often as the next one has a session that one of them has."""
    last = {each.place: index for index, each in enumerate(occurrences)}
    told: dict[object, PlannedOccurrence] = {}
    for each in (occurrences[index] for index in sorted(last.values())):
        if each.session_id in told:
            yield list(told.values())
            told = {}
        told[each.session_id or each.place] = each
    if told:
        yield list(told.values())


async def _split(tx: Connection, recorded: Sequence[Recorded], known: Mapping[str, Person]) -> None:
    """Replaces what sessions have on each day."""
    parts = await in_slices(days.split(each, known[each.user_id].zones) for each in recorded)
    await recordings.replace_days(tx, [each.id for each in recorded], [part for each in parts for part in each])


async def _archive(
    tx: Connection,
    over: Mapping[str, Recorded],
    newest: Mapping[str, ConsumedEvent],
    joining: Sequence[Record],
    there: Sequence[Recorded],
) -> None:
    """Stores sessions that are over, as their newest events leave them. joining, there: as they were before that.

    Publishes what becomes of those that were there, and those that join with other figures than their event has: the
    archive has the last word on its sessions, because deletions in pomodoro and here have no common order elsewhere.
    """

    def follow(record: Record) -> tuple[Record, Record]:
        event = newest[record.archived.id]
        return record, sessions.followed(record, over[event.subject], version=event.version, at=event.time)

    await partitions.make(tx, windows.months_between([each.archived_at or 0 for each in over.values()]))
    moved = await in_slices((each, sessions.with_recorded(each, over[each.archived.id])) for each in joining)
    moved += await in_slices(map(follow, await archive.list_records(tx, there)))
    if same := [after for before, after in moved if after.recorded == before.recorded]:
        await archive.put(tx, [(each.archived, each.tasks) for each in same])
    for before, after in moved:
        if after.recorded != before.recorded:
            cause = newest[after.archived.id]
            published = events.archived_session_followed(after, cause.id)
            await archive.save(tx, after, SideEffects([published], None, cause.traceparent))


def _read(event: ConsumedEvent, stored: Recorded | None) -> tuple[Recorded | None, Record | None]:
    """What becomes of a session by its newest event: its intervals, and its row in the archive when it comes there."""
    recorded = wire.recorded_from_event(event)
    if stored is not None and stored.archived_at is not None:
        # It is over, and its user may have corrected it here: only a deletion there still counts.
        return sessions.deleted_since(stored, recorded.deleted_at), None
    if record := wire.record_from_event(event, recorded):
        record = sessions.with_deletion(record, recorded.deleted_at)
        return record.recorded, record
    is_new = stored is None and not recorded.intervals
    return None if is_new else sessions.deleted_since(recorded, recorded.deleted_at), None
