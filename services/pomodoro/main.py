"""The pomodoro service: `python -m services.pomodoro.main`."""

from focusmesh.pomodoro.v1.focus_session_service_pb2_grpc import add_FocusSessionServiceServicer_to_server
from focusmesh.pomodoro.v1.guest_claim_service_pb2_grpc import add_GuestClaimServiceServicer_to_server
from focusmesh.pomodoro.v1.planned_session_service_pb2_grpc import add_PlannedSessionServiceServicer_to_server

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.clock import Clock
from services.pomodoro import clients
from services.pomodoro.cache import ChangeListener, ChangeSender, CurrentSessions, Guests, Presence, Watches
from services.pomodoro.consumers import SUBSCRIPTIONS
from services.pomodoro.handlers.claims import GuestClaimHandlers
from services.pomodoro.handlers.links import TodoLinks
from services.pomodoro.handlers.planned import PlannedSessionHandlers
from services.pomodoro.handlers.sessions import FocusSessionHandlers
from services.pomodoro.handlers.settings import UserSettings
from services.pomodoro.handlers.watches import WatchStreams
from services.pomodoro.handlers.writes import Writes
from services.pomodoro.jobs import GuestEnder, GuestIntervalEnder, IntervalEnder, PausedRetention, SessionPurger
from services.pomodoro.settings import Settings


def build(settings: Settings, keys: KeySource | None = None, now: Clock = clock.now) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes. now: replaces the clock of its RPCs."""
    platform = Platform("pomodoro", settings, keys)
    db, redis = platform.database(), platform.own_redis()
    watches = Watches(settings.watches_per_user)
    cache = CurrentSessions(redis)
    guests, presence, changes = Guests(redis), Presence(redis, now), ChangeSender(redis, watches, cache)
    writes = Writes(db, guests, cache, presence, changes, now)
    streams = WatchStreams(watches, writes, platform.revocations)
    links = TodoLinks(clients.todo_tasks(platform))
    auth = clients.Auth(platform)
    user_settings = UserSettings(auth.preferences)
    handlers = FocusSessionHandlers(platform.pages, user_settings, links, writes, streams)
    guest_ender = GuestEnder(db, guests, auth.guests, changes)
    claims = GuestClaimHandlers(db, guests, auth.guests, writes, guest_ender.wake)
    days, deletes = settings.paused_retention_days, settings.paused_retention_deletes
    app = platform.app(
        [
            (add_FocusSessionServiceServicer_to_server, handlers),
            (add_GuestClaimServiceServicer_to_server, claims),
            (add_PlannedSessionServiceServicer_to_server, PlannedSessionHandlers(db, user_settings, writes)),
        ],
        database=db,
        components=[
            presence,
            changes,
            cache,
            ChangeListener(redis, watches, cache),
            IntervalEnder(db, presence, changes),
            GuestIntervalEnder(guests, presence, changes),
            guest_ender,
            PausedRetention(db, changes, now, days=days, deletes=deletes),
            SessionPurger(db),
            platform.consumer(db, SUBSCRIPTIONS),
        ],
    )
    app.end_streams = watches.close
    return app


if __name__ == "__main__":
    main("pomodoro", Settings, build)
