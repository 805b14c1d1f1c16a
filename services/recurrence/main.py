"""The recurrence service: `python -m services.recurrence.main`."""

from focusmesh.recurrence.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.clock import Clock
from services.recurrence import clients
from services.recurrence.consumers import Follower
from services.recurrence.handlers import ScheduleHandlers
from services.recurrence.jobs import InstancePlanner, ReminderFirer
from services.recurrence.settings import Settings

_GATHER_MS = 100
"""How long events wait for others: most tasks neither recur nor remind, and are passed over together."""


def build(settings: Settings, keys: KeySource | None = None, now: Clock = clock.now) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes. now: replaces the clock of its RPCs."""
    platform = Platform("recurrence", settings, keys)
    db = platform.database()
    planner, firer = InstancePlanner(db, clients.instances(platform)), ReminderFirer(db)

    def followed() -> None:
        planner.wake()
        firer.wake()

    follower = Follower(db, clients.Users(platform).time_zone, followed)
    return platform.app(
        [(add_ScheduleServiceServicer_to_server, ScheduleHandlers(db, platform.pages, now, planner.wake))],
        database=db,
        components=[planner, firer, platform.consumer(db, follower.subscriptions(), gather_ms=_GATHER_MS)],
    )


if __name__ == "__main__":
    main("recurrence", Settings, build)
