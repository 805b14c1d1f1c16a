"""The calendar service: `python -m services.calendar.main`."""

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from services.calendar.consumers import SUBSCRIPTIONS
from services.calendar.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes."""
    platform = Platform("calendar", settings, keys)
    db = platform.database()
    return platform.app([], database=db, components=[platform.consumer(db, SUBSCRIPTIONS)])


if __name__ == "__main__":
    main("calendar", Settings, build)
