"""The calendar service: `python -m services.calendar.main`."""

from focusmesh.calendar.v1.calendar_file_service_pb2_grpc import add_CalendarFileServiceServicer_to_server
from focusmesh.calendar.v1.calendar_subscription_service_pb2_grpc import (
    add_CalendarSubscriptionServiceServicer_to_server,
)
from focusmesh.calendar.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from focusmesh.calendar.v1.occurrence_service_pb2_grpc import add_OccurrenceServiceServicer_to_server
from focusmesh.calendar.v1.planning_service_pb2_grpc import add_PlanningServiceServicer_to_server

from mesh.app import App, main
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.guard import Guard, networks
from mesh.platform import Platform
from mesh.rpc.http import HttpListener
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.clock import Clock
from services.calendar.clients import published
from services.calendar.clients.published import PublishedCalendars
from services.calendar.clients.sessions import Sessions
from services.calendar.clients.tasks import Tasks
from services.calendar.clients.users import Users
from services.calendar.consumers import SUBSCRIPTIONS, SessionFollower
from services.calendar.handlers.events import EventHandlers
from services.calendar.handlers.feed_files import FeedFiles
from services.calendar.handlers.files import FileHandlers, reader
from services.calendar.handlers.planning import PlanningHandlers
from services.calendar.handlers.starting import StartingHandlers
from services.calendar.handlers.subscriptions import SubscriptionHandlers
from services.calendar.jobs.endings import OccurrenceEnder
from services.calendar.jobs.purges import EventPurger
from services.calendar.jobs.reminding import ReminderFirer
from services.calendar.jobs.subscriptions import SubscriptionReader
from services.calendar.settings import Settings
from services.calendar.store.changes import Calendars
from services.calendar.store.users import UserZones


def build(settings: Settings, keys: KeySource | None = None, now: Clock = clock.now) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes. now: replaces the clock of its RPCs."""
    platform = Platform("calendar", settings, keys)
    db = platform.database()
    zones = UserZones(db, Users(platform).time_zone)
    calendars, tasks, files = Calendars(db, zones), Tasks(platform), reader()
    guard = Guard(networks(settings.outgoing_allowed_networks))
    others = PublishedCalendars(OutgoingClient(guard, seconds=published.SECONDS))
    subscription_reader = SubscriptionReader(db, calendars, others, files, now)
    feeds = HttpListener(settings.http_listen, FeedFiles(db, zones, tasks, now).respond, settings)
    subscriptions = [*SUBSCRIPTIONS, SessionFollower(zones, now).subscription()]
    return platform.app(
        [
            (
                add_EventServiceServicer_to_server,
                EventHandlers(db, platform.pages, calendars, tasks, now),
            ),
            (
                add_OccurrenceServiceServicer_to_server,
                StartingHandlers(db, platform.pages, calendars, zones, now, Sessions(platform), tasks),
            ),
            (
                add_PlanningServiceServicer_to_server,
                PlanningHandlers(db, platform.pages, calendars, zones, tasks, now),
            ),
            (
                add_CalendarFileServiceServicer_to_server,
                FileHandlers(db, platform.pages, calendars, zones, tasks, files, now),
            ),
            (
                add_CalendarSubscriptionServiceServicer_to_server,
                SubscriptionHandlers(db, calendars, guard, now, subscription_reader.wake),
            ),
        ],
        database=db,
        components=[
            OccurrenceEnder(db),
            ReminderFirer(db),
            EventPurger(db),
            platform.consumer(db, subscriptions),
            feeds,
            files,
            subscription_reader,
        ],
    )


if __name__ == "__main__":
    main("calendar", Settings, build)
