"""Goals, and the streak of dates that reach them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from mesh.rpc.etag import check_etag, next_version
from services.history.model import Goals

_DAY = timedelta(days=1)


class Streak(NamedTuple):
    """Consecutive dates that qualify."""

    current: int
    longest: int


def update(goals: Goals, changes: Mapping[str, Any], *, now: int, etag: str | None) -> Goals:
    """The goals with these changed, by the names of the model; `goals` itself when nothing differs."""
    check_etag(etag, goals.version)
    changed = goals._replace(**changes)
    return goals if changed == goals else next_version(changed, now)


def is_neutral(goals: Goals, day: date) -> bool:
    """Whether nothing is expected on a date."""
    return day.isoweekday() in goals.days_off or any(each.first <= day <= each.last for each in goals.vacations)


def streak(
    qualifying: Collection[date], goals: Goals, today: date, *, was_lived: Callable[[date], bool] = lambda _: True
) -> Streak:
    """The streak that goes on, and the longest one; `streaks` says which dates count."""
    *_, last = streaks(qualifying, goals, today, was_lived=was_lived)
    return last


def streaks(
    qualifying: Collection[date], goals: Goals, today: date, *, was_lived: Callable[[date], bool]
) -> Iterator[Streak]:
    """The streak that goes on, and the longest one, as of every date from the first that qualifies to today.

    Dates on which nothing is expected and those that were never lived neither count nor break it; today does not break
    it, nor do later dates, which one who travelled west has had already; they count.
    was_lived: whether the user had any instant of a date.
    """
    length = longest = 0
    days = set(qualifying)
    day = min(days, default=today)
    last = max(today, max(days, default=today))
    while day <= last:
        if day in days:
            length += 1
            longest = max(longest, length)
        elif length and day < today and not is_neutral(goals, day) and was_lived(day):
            length = 0
        yield Streak(length, longest)
        day += _DAY
