"""Time that was not worked though the session ran: sleep of a device, idle time, interruptions."""

from mesh.runtime.clock import SECOND, to_json
from services.pomodoro import errors
from services.pomodoro.model import Act, Cause, Focus, IdleAction, Status, SyncResult
from services.pomodoro.rules import timeline
from services.pomodoro.rules.sessions import append_gap, require_active, timeline_of

TOLERANCE = 2 * SECOND
"""How far the timers of a device and of the server may be apart."""


def sync(focus: Focus, act: Act, *, number: int, progress_seconds: int, others: int | None) -> tuple[Focus, SyncResult]:
    """The session without the time that the device slept, and what became of the difference.

    number, progress_seconds: the interval that the device shows, and how long that has run. others: when another device
    of the user last called or watched; None when that is not known.
    """
    require_active(focus, act)
    session, shown = focus.session, progress_seconds * SECOND
    if number < session.interval_number:
        return focus, SyncResult.INTERVAL_OVER
    current = timeline_of(focus, act.now).intervals[-1]
    if number > session.interval_number or shown > current.worked + TOLERANCE:
        raise errors.ProgressAhead(progress_seconds=current.worked // SECOND, interval_number=session.interval_number)
    if shown >= current.worked - TOLERANCE:
        return focus, SyncResult.CONFIRMED
    slept = timeline.instant_of_progress(current.spans, shown)
    if session.status != Status.RUNNING or others is None or max(others, _acted(focus, act)) >= slept:
        return focus, SyncResult.SERVER_VALUE_KEPT
    return append_gap(focus, act, Cause.SLEEP, slept), SyncResult.GAP_ADDED


def report_idle(focus: Focus, act: Act, *, since: int, action: IdleAction) -> Focus:
    """The session without the focus time since an instant; `focus` itself when that changes nothing."""
    require_active(focus, act)
    if since > act.now + TOLERANCE:
        raise errors.IdleInFuture(server_time=to_json(act.now))
    begin = max(since, focus.session.start_time or 0)
    if action is IdleAction.KEEP:
        return focus
    cause = Cause.IDLE if action is IdleAction.DISCARD else Cause.BREAK
    changed, before = append_gap(focus, act, cause, begin), timeline_of(focus, act.now)
    same = (changed.session.focused, changed.session.rested) == (before.focused, before.rested)
    return focus if same else changed


def interrupt(focus: Focus, act: Act, *, cause: Cause, duration: int) -> Focus:
    """The session with an interruption that ends now, without the time that it took of the current interval."""
    require_active(focus, act)
    current = timeline_of(focus, act.now).intervals[-1]
    took = min(duration, current.worked)
    begin = timeline.instant_of_progress(current.spans, current.worked - took) if took else act.now
    return append_gap(focus, act, cause, begin)


def _acted(focus: Focus, act: Act) -> int:
    """When another device last changed the session."""
    return max((each.at for each in focus.transitions if each.device_id not in (None, act.device_id)), default=0)
