"""Events of users, as auth publishes them."""

from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.ids import new_id

TOPIC = "user-events"


def a_user_event(user_id: str, kind: str = "user-deleted", *, version: int = 2, time_zone: str = "UTC") -> Event:
    """An event of a user's account."""
    return Event(
        id=new_id(),
        type=kind,
        source="auth",
        topics=(TOPIC,),
        user_id=user_id,
        subject=user_id,
        subject_name="user_id",
        version=version,
        time=clock.now(),
        payload={"name": None, "time_zone": time_zone, "day_start_minutes": 0, "week_start": "monday"},
    )
