"""What pomodoro keeps in Redis: of users never the only copy of anything, of guests everything."""

from services.pomodoro.cache.changes import ChangeListener, ChangeSender, Watches
from services.pomodoro.cache.current import CurrentSessions
from services.pomodoro.cache.guests import Guests, GuestSessions
from services.pomodoro.cache.presence import Presence

__all__ = ["ChangeListener", "ChangeSender", "CurrentSessions", "GuestSessions", "Guests", "Presence", "Watches"]
