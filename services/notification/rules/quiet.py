"""Quiet hours: when they end."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mesh.runtime.clock import SECOND, to_datetime
from services.notification.model import Recipient

_DAY = timedelta(days=1)


def quiet_until(recipient: Recipient, now: int) -> int | None:
    """The end of the quiet hours that it is in now in the user's zone; None when it is in none.

    They begin and end by the clock on the wall. An end that a change of the clock skips is as long after the change as
    it would have been without it; of one that comes twice the first counts.
    """
    if recipient.quiet_from is None or recipient.quiet_to is None:
        return None
    zone = _zone(recipient.time_zone or "UTC")
    local = to_datetime(now).astimezone(zone)
    minute = local.hour * 60 + local.minute
    begin, end = recipient.quiet_from, recipient.quiet_to
    if not (begin <= minute < end if begin < end else minute >= begin or minute < end):
        return None
    date = local.date() if minute < end else local.date() + _DAY
    until = datetime.combine(date, time(end // 60, end % 60), zone)
    instant = round(until.timestamp()) * SECOND
    # The wall clock was set back since: what it shows now was before the end once already.
    return instant if instant > now else round(until.replace(fold=1).timestamp()) * SECOND


def _zone(name: str) -> ZoneInfo:
    """The zone; UTC for a name that this process does not know, so that one user's does not keep others waiting."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
