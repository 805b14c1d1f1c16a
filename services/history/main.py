"""The history service: `python -m services.history.main`."""

from focusmesh.history.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from mesh.runtime.clock import Clock
from services.history.clients import Preferences
from services.history.consumers import Recorder
from services.history.handlers import HistoryHandlers
from services.history.jobs import PartitionKeeper, SessionPurger
from services.history.settings import Settings


def build(settings: Settings, keys: KeySource | None = None, now: Clock = clock.now) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes. now: replaces the clock of its RPCs."""
    platform = Platform("history", settings, keys)
    db, reads = platform.database(), platform.replica(settings.history_read_dsn or settings.database_url)
    fetch = Preferences(platform, now).person
    handlers = HistoryHandlers(db, reads, platform.pages, fetch, now, retention_days=settings.retention_days)
    keeper = PartitionKeeper(db, now, months_ahead=settings.months_ahead, retention_days=settings.retention_days)
    return platform.app(
        [(add_HistoryServiceServicer_to_server, handlers)],
        database=db,
        components=[reads, keeper, SessionPurger(db), platform.consumer(db, Recorder(db, fetch).subscriptions())],
    )


if __name__ == "__main__":
    main("history", Settings, build)
