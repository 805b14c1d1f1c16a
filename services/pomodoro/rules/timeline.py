"""The timeline of a session: every figure, derived from its plan and its transitions.

A session is a run of intervals, of which odd ones are focus and even ones breaks. An interval has worked for as long as
the session ran in it, less the gaps. Whole seconds are cut from the sum of all work before (`_whole`), so that those of
intervals, tasks and days add up to those of the session.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from mesh.runtime.clock import SECOND
from services.pomodoro.model import FOCUS_ONLY, INTERRUPTIONS, Cause, IntervalKind, Kind, Session, Transition

Span: TypeAlias = tuple[int, int]
"""Begin and end."""
MINUTE = 60 * SECOND
_WORKED_OF_A_POMODORO = 80
"""Percent of a focus interval."""
_NEVER = 1 << 62


class Plan(NamedTuple):
    """How long the intervals of a session are, and which start by themselves."""

    focus: int
    short_break: int
    long_break: int
    long_break_interval: int
    auto_start_breaks: bool
    auto_start_focus: bool

    def kind(self, number: int) -> IntervalKind:
        """What the interval at this position is for."""
        if number % 2:
            return IntervalKind.FOCUS
        long = number // 2 % self.long_break_interval == 0
        return IntervalKind.LONG_BREAK if long else IntervalKind.SHORT_BREAK

    def length(self, number: int) -> int:
        """How long the interval at this position is to run."""
        kind = self.kind(number)
        if kind is IntervalKind.FOCUS:
            return self.focus
        return self.long_break if kind is IntervalKind.LONG_BREAK else self.short_break

    def starts_by_itself(self, number: int) -> bool:
        """Whether the interval at this position starts at the end of the one before."""
        return self.auto_start_focus if number % 2 else self.auto_start_breaks


class Interval(NamedTuple):
    """One interval."""

    number: int
    kind: IntervalKind
    length: int
    start: int | None
    """When it first ran; None when it never did."""
    end: int | None
    """None for the current one."""
    ran: tuple[Span, ...]
    """When the session ran in it."""
    spans: tuple[Span, ...]
    """The same without the gaps."""

    @property
    def worked(self) -> int:
        """How long it ran, without gaps."""
        return total(self.spans)

    @property
    def is_pomodoro(self) -> bool:
        """Whether it is a focus interval that has ended and was worked enough."""
        enough = self.worked * 100 >= self.length * _WORKED_OF_A_POMODORO
        return self.kind is IntervalKind.FOCUS and self.end is not None and enough


class Piece(NamedTuple):
    """Work of one interval on one task, without a gap."""

    interval: Interval
    task_id: str | None
    begin: int
    end: int

    @property
    def worked(self) -> int:
        """How long it took."""
        return self.end - self.begin


class Timeline(NamedTuple):
    """What the transitions of a session amount to at an instant."""

    intervals: tuple[Interval, ...]
    """Those that have ended, and the current one unless the session is finished."""
    focused: int
    rested: int
    interruptions: int

    def count(self, kind: IntervalKind) -> int:
        """How many breaks of this kind have ended after they had begun."""
        return sum(
            1 for each in self.intervals if each.kind is kind and each.end is not None and each.start is not None
        )

    @property
    def pomodoros(self) -> int:
        """How many intervals count as pomodoros."""
        return sum(1 for each in self.intervals if each.is_pomodoro)


def plan_of(session: Session) -> Plan:
    """The plan of a session."""
    return Plan(
        session.duration_pomodoro_minutes * MINUTE,
        session.duration_short_break_minutes * MINUTE,
        session.duration_long_break_minutes * MINUTE,
        session.long_break_interval,
        session.auto_start_breaks,
        session.auto_start_focus,
    )


def derive(plan: Plan, transitions: Sequence[Transition], now: int) -> Timeline:
    """The timeline at `now`, which is neither before the last transition nor after the end of the current interval."""
    of_breaks, of_focus = _gaps(transitions, without_causes=FOCUS_ONLY), _gaps(transitions)
    intervals = tuple(
        Interval(
            number,
            plan.kind(number),
            plan.length(number),
            ran[0][0] if ran else None,
            end,
            ran,
            without(ran, of_focus if number % 2 else of_breaks),
        )
        for number, ran, end in _runs(transitions, now)
    )
    focused = sum(each.worked for each in intervals if each.kind is IntervalKind.FOCUS)
    rested = sum(each.worked for each in intervals if each.kind is not IntervalKind.FOCUS)
    return Timeline(
        intervals,
        focused,
        rested + _reassigned(intervals, transitions, focused),
        sum(1 for each in transitions if each.cause in INTERRUPTIONS),
    )


def seconds_of_intervals(intervals: Sequence[Interval]) -> list[int]:
    """Whole seconds of each interval; those of the focus intervals add up to the whole seconds of the session."""
    seconds, before = [], 0
    for each in intervals:
        if each.kind is IntervalKind.FOCUS:
            seconds.append(_whole(before, before + each.worked))
            before += each.worked
        else:
            seconds.append(each.worked // SECOND)
    return seconds


def work(intervals: Iterable[Interval], transitions: Sequence[Transition]) -> Iterator[Piece]:
    """The work of the focus intervals in order, cut where another task became the current one."""
    changes = [(0, None), *((each.at, each.task_id) for each in transitions if each.kind == Kind.TASK), (_NEVER, None)]
    index = 0
    for interval in intervals:
        for begin, end in interval.spans if interval.kind is IntervalKind.FOCUS else ():
            at = begin
            while at < end:
                while changes[index + 1][0] <= at:
                    index += 1
                until = min(end, changes[index + 1][0])
                yield Piece(interval, changes[index][1], at, until)
                at = until


def seconds_of_tasks(pieces: Iterable[Piece]) -> dict[str | None, int]:
    """Whole seconds that were worked on each task; of None: on no task. They add up to those of the session."""
    seconds: dict[str | None, int] = {}
    before = 0
    for piece in pieces:
        seconds[piece.task_id] = seconds.get(piece.task_id, 0) + _whole(before, before + piece.worked)
        before += piece.worked
    return seconds


def pomodoros_of_tasks(pieces: Iterable[Piece]) -> dict[str | None, int]:
    """How many pomodoros each task has: each counts to the task that most of it was worked on, the first of several."""
    counts: dict[str | None, int] = {}
    for interval, of_interval in groupby(pieces, key=lambda piece: piece.interval):
        if interval.is_pomodoro:
            worked: dict[str | None, int] = {}
            for piece in of_interval:
                worked[piece.task_id] = worked.get(piece.task_id, 0) + piece.worked
            most = max(worked, key=lambda task_id: worked[task_id])
            counts[most] = counts.get(most, 0) + 1
    return counts


def instant_of_progress(spans: Sequence[Span], progress: int) -> int:
    """When an interval that worked in these spans had worked so long."""
    for begin, end in spans:
        if progress < end - begin:
            return begin + progress
        progress -= end - begin
    return spans[-1][1]


def total(spans: Iterable[Span]) -> int:
    """How long the spans are together."""
    return sum(end - begin for begin, end in spans)


def without(spans: Sequence[Span], gaps: Sequence[Span]) -> tuple[Span, ...]:
    """The spans without the gaps. Both in order, and none of either overlaps the next."""
    kept: list[Span] = []
    index = 0
    for begin, end in spans:
        at = begin
        while index < len(gaps) and gaps[index][1] <= at:
            index += 1
        beyond = index
        while beyond < len(gaps) and gaps[beyond][0] < end:
            if gaps[beyond][0] > at:
                kept.append((at, gaps[beyond][0]))
            at = max(at, gaps[beyond][1])
            beyond += 1
        if at < end:
            kept.append((at, end))
    return tuple(kept)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; overlapping ones joined, empty ones left out."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif begin < end:
            joined.append((begin, end))
    return joined


def counted(intervals: Sequence[Interval], transitions: Sequence[Transition]) -> Iterator[Span]:
    """When the session ran and that counts, as focus or as a break, in order."""
    others = _gaps(transitions, without_causes=(Cause.BREAK,))
    for each in intervals:
        yield from without(each.ran, others) if each.kind is IntervalKind.FOCUS else each.spans


def _whole(begin: int, end: int) -> int:
    """The whole seconds that are completed between two positions of the work of a session."""
    return end // SECOND - begin // SECOND


def _gaps(transitions: Iterable[Transition], *, without_causes: Collection[str] = ()) -> list[Span]:
    """What is taken out, in order; overlapping gaps joined, empty ones left out. without_causes: ignores these."""
    gaps = (
        (each.gap_start, each.gap_end)
        for each in transitions
        if each.gap_start is not None and each.gap_end is not None and each.cause not in without_causes
    )
    return merged(gaps)


def _runs(transitions: Sequence[Transition], now: int) -> Iterator[tuple[int, tuple[Span, ...], int | None]]:
    """Position, spans and end of the intervals that have ended, and of the current one of an unfinished session."""
    number, ran, since = 1, list[Span](), None
    for each in transitions:
        stops = since is not None and (not each.runs or each.kind in (Kind.END, Kind.SKIP))
        if stops and since is not None and since < each.at:
            ran.append((since, each.at))
        if each.kind in (Kind.END, Kind.SKIP, Kind.FINISH):
            yield number, tuple(ran), each.at
            number, ran = number + 1, []
        if stops:
            since = None
        if since is None and each.runs:
            since = each.at
        if each.kind == Kind.FINISH:
            return
    if since is not None and since < now:
        ran.append((since, now))
    yield number, tuple(ran), None


def _reassigned(intervals: Sequence[Interval], transitions: Sequence[Transition], focused: int) -> int:
    """How much focus time counts as a break, and would count as focus otherwise."""
    if not any(each.cause == Cause.BREAK for each in transitions):
        return 0
    others = _gaps(transitions, without_causes=(Cause.BREAK,))
    ran = (without(each.ran, others) for each in intervals if each.kind is IntervalKind.FOCUS)
    return sum(map(total, ran)) - focused
