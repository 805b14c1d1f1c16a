"""Sessions of the archive: how they come there, and how their user corrects them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.clock import DAY, SECOND, to_json
from mesh.runtime.errors import FieldViolation
from services.history import errors
from services.history.model import (
    Archived,
    Interval,
    IntervalKind,
    Outcome,
    Record,
    Recorded,
    Span,
    Status,
    Task,
)
from services.history.rules import days

UNDELETE_WINDOW = 30 * DAY
_WORKED_OF_A_POMODORO = 80
"""Percent of a focus interval, as in the pomodoro service."""
MOST_TAKEN = 50
"""Pieces that one event takes out of a session."""
_MOST_SPANS = 400
"""Of work in one session: the most that pomodoro reports, 300 transitions and 50 gaps of a claim, and those pieces."""
_TIMES_RULE = {
    "start_time": "must be before end_time, by at most 24 hours when the session is added by hand",
    "end_time": "must be after start_time, by at most 24 hours when the session is added by hand",
}


def spanned(recorded: Recorded) -> Recorded:
    """The recording with the times between which its intervals ran."""
    spans = [span for interval in recorded.intervals for span in interval.spans]
    begin = min((span.begin for span in spans), default=None)
    return recorded._replace(begin_time=begin, end_time=max((span.end for span in spans), default=None))


def manual(archived: Archived, task: Task | None, *, is_pomodoro: bool) -> Record:
    """A session that no timer recorded: one focus interval, as long as it was."""
    begin, end = archived.start_time or 0, archived.end_time or 0
    span = Span(begin, end, task.task_id if task else None)
    seconds = (end - begin) // SECOND
    interval = Interval(1, IntervalKind.FOCUS, seconds, end, is_pomodoro, (span,))
    linked = {task.task_id: task.todo_task_id} if task and task.todo_task_id else {}
    recorded = Recorded(
        archived.id, archived.user_id, begin, end, (interval,), linked, archived.created_at, None, None, is_manual=True
    )
    return _counted(Record(archived, recorded, (task,) if task else ()))


def change(record: Record, changes: Mapping[str, Any], *, now: int, hot_from: int, etag: str | None = None) -> Record:
    """The session with another title or other times; `record` itself when they change nothing.

    hot_from: the first instant that is not in cold storage.
    """
    archived = record.archived
    _require_changeable(archived, etag, hot_from)
    if archived.deleted_at is not None:
        raise errors.ArchivedSessionDeleted(archived_session_id=archived.id)
    changed = record._replace(archived=archived._replace(**changes))
    if changed == record:
        return record
    if _times(changed.archived) != _times(archived):
        changed = _retimed(record, changed.archived, now)
    return _versioned(changed, now)


def delete(record: Record, *, now: int, hot_from: int, etag: str | None) -> Record:
    """The session, deleted."""
    archived = record.archived
    _require_changeable(archived, etag, hot_from)
    if archived.deleted_at is not None:
        raise errors.ArchivedSessionDeleted(archived_session_id=archived.id)
    return _versioned(with_deletion(record, now), now)


def undelete(record: Record, *, now: int, etag: str | None) -> Record:
    """The deleted session, back."""
    archived = record.archived
    check_etag(etag, archived.version)
    if archived.deleted_at is None:
        raise errors.ArchivedSessionNotDeleted(archived_session_id=archived.id)
    return _versioned(with_deletion(record, None), now)


def with_deletion(record: Record, deleted_at: int | None) -> Record:
    """The session as it is when it was deleted at an instant, or is not deleted."""
    return with_recorded(record, deleted_since(record.recorded, deleted_at))


def with_recorded(record: Record, recorded: Recorded) -> Record:
    """The session with what is recorded of it now."""
    archived = record.archived._replace(deleted_at=recorded.deleted_at, purge_at=recorded.purge_at)
    changed = Record(archived, recorded, record.tasks)
    # Of breaks nothing is taken out, and what was reassigned to them has no span.
    return changed if recorded.intervals == record.recorded.intervals else _with_work(changed)


def followed(record: Record, recorded: Recorded, *, version: int, at: int) -> Record:
    """The session of the archive with what is recorded after an event of this version and instant.

    Its version rises also when nothing changed: the version of a session that its user does not correct must not depend
    on how events come in batches.
    """
    changed = with_recorded(record, recorded)
    archived = changed.archived
    raised = archived._replace(version=max(archived.version + 1, version), updated_at=max(archived.updated_at, at))
    return changed._replace(archived=raised)


def deleted_since(recorded: Recorded, deleted_at: int | None) -> Recorded:
    """The recording of a session that was deleted at an instant, or is not deleted."""
    purge_at = None if deleted_at is None else deleted_at + UNDELETE_WINDOW
    return recorded._replace(deleted_at=deleted_at, purge_at=purge_at)


def require_past(end: int, now: int) -> None:
    """Raises when a session would end in the future."""
    if end > now:
        violation = FieldViolation("end_time", "must not be in the future")
        raise errors.TimeInFuture(server_time=to_json(now), fields=[violation])


def require_times(begin: int, end: int, *, is_manual: bool, field: str = "end_time") -> None:
    """Raises when a session would end before it begins, or one that is added by hand be too long.

    field: of the request, which the error names.
    """
    if end <= begin or (is_manual and end - begin > DAY):
        raise errors.TimesInvalid(
            start_time=to_json(begin), end_time=to_json(end), fields=[FieldViolation(field, _TIMES_RULE[field])]
        )


def require_hot(instant: int, hot_from: int) -> None:
    """Raises when sessions of this instant are in cold storage."""
    if instant < hot_from:
        raise errors.TimeInColdStorage(oldest_time=to_json(hot_from))


def require_free(record: Record, others: Iterable[Recorded]) -> Iterator[Recorded]:
    """The others one by one, of which none was at work while this one was; raises at the first that was."""
    mine = _focus_spans(record.recorded)
    for other in others:
        if other.id != record.archived.id and _overlap(mine, _focus_spans(other)):
            raise errors.TimeOverlaps(archived_session_id=other.id)
        yield other


def without(recorded: Recorded, taken: Sequence[tuple[int, int]]) -> Recorded:
    """The recording without the work between any of these instants; of a deleted one nothing counts anyway.

    taken: in order, none overlaps another. Of more than 50 that count, all between the first and the last is taken; of
    a session that would be left in more than 400 spans, all from the first on.
    """
    ran = _focus_spans(recorded)
    ends = [span.end for span in ran]
    hits = [each for each in taken if (at := bisect_right(ends, each[0])) < len(ran) and ran[at].begin < each[1]]
    if not hits or recorded.deleted_at is not None:
        return recorded
    if len(hits) > MOST_TAKEN:
        hits = [(hits[0][0], hits[-1][1])]
    if len(ran) + len(hits) > _MOST_SPANS:
        hits = [(hits[0][0], max(ends))]
    return spanned(recorded._replace(intervals=tuple(_without(each, hits) for each in recorded.intervals)))


def seconds_of_tasks(recorded: Recorded) -> dict[str | None, int]:
    """Whole seconds that were worked on each of the session's tasks; they add up to those of the session."""
    seconds: dict[str | None, int] = {}
    before = 0
    for interval in recorded.intervals:
        for span in interval.spans if interval.kind == IntervalKind.FOCUS else ():
            after = before + span.end - span.begin
            seconds[span.task_id] = seconds.get(span.task_id, 0) + after // SECOND - before // SECOND
            before = after
    return seconds


def _require_changeable(archived: Archived, etag: str | None, hot_from: int) -> None:
    check_etag(etag, archived.version)
    require_hot(archived.created_at, hot_from)


def _retimed(record: Record, archived: Archived, now: int) -> Record:
    """The session with its work between its new times only; of one that was added by hand, in all of that time."""
    begin, end = archived.start_time or 0, archived.end_time or 0
    is_manual = archived.original_session_id is None
    field = "start_time" if archived.end_time == record.archived.end_time else "end_time"
    require_times(begin, end, is_manual=is_manual, field=field)
    if is_manual:
        require_past(end, now)
        [interval] = record.recorded.intervals
        spans = (interval.spans[0]._replace(begin=begin, end=end),)
        moved = interval._replace(planned_seconds=(end - begin) // SECOND, end=end, spans=spans)
        intervals: tuple[Interval, ...] = (moved,)
    else:
        old_begin, old_end = _times(record.archived)
        if begin < (old_begin or 0) or end > (old_end or 0):
            raise errors.TimeNotRecorded(
                archived_session_id=archived.id, start_time=to_json(old_begin or 0), end_time=to_json(old_end or 0)
            )
        intervals = tuple(_cut(each, begin, end) for each in record.recorded.intervals)
    recorded = spanned(record.recorded._replace(intervals=intervals))
    return _counted(record._replace(archived=archived, recorded=recorded))


def _cut(interval: Interval, begin: int, end: int) -> Interval:
    kept = [span._replace(begin=max(span.begin, begin), end=min(span.end, end)) for span in interval.spans]
    cut = _left(interval, kept)
    return cut if cut is interval else cut._replace(end=max(min(interval.end, end), begin))


def _without(interval: Interval, taken: Sequence[tuple[int, int]]) -> Interval:
    if interval.kind != IntervalKind.FOCUS:
        return interval
    return _left(interval, (piece for span in interval.spans for piece in _pieces(span, taken)))


def _pieces(span: Span, taken: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """What is left of a span, some of it empty."""
    left = span
    first, last = bisect_right(taken, span.begin, key=itemgetter(1)), bisect_left(taken, span.end, key=itemgetter(0))
    for begin, end in taken[first:last]:
        yield left._replace(end=begin)
        left = left._replace(begin=end)
    yield left


def _left(interval: Interval, kept: Iterable[Span]) -> Interval:
    """The interval with these of its spans, some of them shorter or empty."""
    spans = tuple(span for span in kept if span.begin < span.end)
    if spans == interval.spans:
        return interval
    cut = interval._replace(spans=spans)
    enough = days.length(cut) * 100 >= cut.planned_seconds * SECOND * _WORKED_OF_A_POMODORO
    return cut._replace(is_pomodoro=cut.is_pomodoro and enough)


def _counted(record: Record) -> Record:
    """The session with the figures of its intervals."""
    breaks = [each for each in record.recorded.intervals if each.kind != IntervalKind.FOCUS and each.spans]
    archived = record.archived._replace(
        short_break_count=sum(1 for each in breaks if each.kind == IntervalKind.SHORT_BREAK),
        long_break_count=sum(1 for each in breaks if each.kind == IntervalKind.LONG_BREAK),
        total_break_seconds=sum(map(days.length, breaks)) // SECOND,
    )
    return _with_work(record._replace(archived=archived))


def _with_work(record: Record) -> Record:
    """The session with the figures of its focus intervals."""
    recorded = record.recorded
    pomodoros = [each for each in recorded.intervals if each.is_pomodoro]
    seconds, mains = seconds_of_tasks(recorded), [days.main_task(each) for each in pomodoros]
    focused = days.whole_seconds(recorded.intervals)
    archived = record.archived._replace(pomodoro_count=len(pomodoros), total_focused_seconds=focused)
    if archived.status == Status.FINISHED:
        archived = archived._replace(outcome=_outcome(len(pomodoros), focused))
    tasks = tuple(
        task._replace(focused_seconds=seconds.get(task.task_id, 0), pomodoro_count=mains.count(task.task_id))
        for task in record.tasks
    )
    return Record(archived, recorded, tasks)


def _outcome(pomodoros: int, focused: int) -> str:
    if pomodoros:
        return Outcome.COMPLETED.value
    return Outcome.PARTIAL.value if focused else Outcome.ABANDONED.value


def _versioned(record: Record, now: int) -> Record:
    return record._replace(archived=next_version(record.archived, now))


def _times(archived: Archived) -> tuple[int | None, int | None]:
    return archived.start_time, archived.end_time


def _begin(span: Span) -> int:
    return span.begin


def _focus_spans(recorded: Recorded) -> list[Span]:
    return sorted(
        (span for each in recorded.intervals if each.kind == IntervalKind.FOCUS for span in each.spans), key=_begin
    )


def _overlap(one: Sequence[Span], other: Sequence[Span]) -> bool:
    """Whether any of these spans overlap; both are in order."""
    mine = theirs = 0
    while mine < len(one) and theirs < len(other):
        if one[mine].end <= other[theirs].begin:
            mine += 1
        elif other[theirs].end <= one[mine].begin:
            theirs += 1
        else:
            return True
    return False
