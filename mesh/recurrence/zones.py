"""Time zones: their names, and the way from a wall clock to an instant."""

from datetime import datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

from mesh.runtime.clock import to_datetime

TIME_ZONES = frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split()) - {"Factory", "localtime"}
"""Every IANA name, from the package and not from the machine: the same in all replicas."""
_EPOCH = datetime(1970, 1, 1)
_EARLIEST, _LATEST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
_MICROSECOND = timedelta(microseconds=1)
_NONE = timedelta()


def to_instant(wall: datetime, time_zone: str) -> tuple[int, bool]:
    """The instant of a wall-clock time, and whether it is in a gap: there the offset before the gap counts.

    Of a repeated hour it is the first time.
    """
    zone, first = ZoneInfo(time_zone), wall.replace(fold=0) if wall.fold else wall
    offset = zone.utcoffset(first) or _NONE
    after = zone.utcoffset(first.replace(fold=1)) or _NONE
    return (wall - _EPOCH - offset) // _MICROSECOND, offset < after


def to_wall(instant: int, time_zone: str) -> datetime:
    """What a clock on the wall shows at an instant; naive. Raises OverflowError beyond the years 1 to 9999."""
    return to_datetime(instant).astimezone(ZoneInfo(time_zone)).replace(tzinfo=None, fold=0)


def to_wall_within(instant: int, time_zone: str) -> datetime:
    """The same; at the ends of the years 1 to 9999 the clock stops."""
    try:
        return to_wall(instant, time_zone)
    except OverflowError:
        return _LATEST if instant > 0 else _EARLIEST


def end_of_day(wall: datetime, time_zone: str) -> int:
    """The instant at which the local date after that of `wall` begins."""
    return to_instant(midnight(wall) + timedelta(days=1), time_zone)[0]


def midnight(wall: datetime) -> datetime:
    """The beginning of a local date."""
    return wall.replace(hour=0, minute=0, second=0, microsecond=0)
