"""How a session of a guest becomes one of an account: what the account worked at the same time is taken out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mesh.rpc.etag import next_version
from services.pomodoro.model import Act, Cause, Focus, Kind, Status, Transition
from services.pomodoro.rules import sessions, timeline
from services.pomodoro.rules.timeline import Span

_MOST_GAPS = 50
"""Of one session: with more of them the event of the session might not fit into 512 KiB."""


class Claimed(NamedTuple):
    """A session of the account, and how much of it was taken out."""

    focus: Focus
    overlap: int


def spans(focus: Focus, now: int) -> Iterable[Span]:
    """When a session ran and that counts, until an instant within its current interval."""
    return timeline.counted(sessions.timeline_of(focus, now).intervals, focus.transitions)


def claim(focus: Focus, act: Act, user_id: str, own: Sequence[Span], *, another_runs: bool) -> Claimed:
    """The guest's session as one of the user.

    own: when sessions of the user ran, merged. another_runs: whether one of them does; then this one is paused.
    """
    version = focus.session.version
    if another_runs and focus.session.status == Status.RUNNING:
        focus = sessions.pause(focus, act)
    gaps = _overlaps(tuple(spans(focus, act.now)), own)
    left = _without(focus, act, gaps) if gaps else focus
    session = next_version(left.session._replace(user_id=user_id, version=version), act.now)
    overlap = _total(focus, act) - _total(left, act)
    return Claimed(left._replace(session=session, stored=None), overlap)


def _overlaps(ran: Sequence[Span], own: Sequence[Span]) -> list[Span]:
    """What is to be taken out; pieces between which nothing is left are one."""
    left = timeline.without(ran, own)
    pieces = sorted([*((span, True) for span in left), *((span, False) for span in timeline.without(ran, left))])
    gaps: list[Span] = []
    after_left = True
    for (begin, end), is_left in pieces:
        if not is_left and after_left:
            gaps.append((begin, end))
        elif not is_left:
            gaps[-1] = (gaps[-1][0], end)
        after_left = is_left
    return gaps if len(gaps) <= _MOST_GAPS else [(gaps[0][0], gaps[-1][1])]


def _without(focus: Focus, act: Act, gaps: Sequence[Span]) -> Focus:
    """The session without these times. The end of a finished session stays the last transition."""
    *earlier, last = focus.transitions
    finished = last.kind == Kind.FINISH
    before, after = (earlier, [last]) if finished else ([*earlier, last], [])
    at, runs = last.at if finished else max(act.now, last.at), before[-1].runs
    added = [
        Transition(focus.session.id, 0, Kind.GAP, at, runs, act.device_id, Cause.OVERLAP, begin, end)
        for begin, end in gaps
    ]
    numbered = [each._replace(number=number) for number, each in enumerate([*before, *added, *after], start=1)]
    return sessions.derived(focus._replace(transitions=tuple(numbered)))


def _total(focus: Focus, act: Act) -> int:
    shown = sessions.at(focus.session, act.now)
    return shown.focused + shown.rested
