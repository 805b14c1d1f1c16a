"""The notification service: `python -m services.notification.main`."""

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from services.notification.consumers import SUBSCRIPTIONS
from services.notification.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes."""
    platform = Platform("notification", settings, keys)
    db = platform.database()
    return platform.app([], database=db, components=[platform.consumer(db, SUBSCRIPTIONS)])


if __name__ == "__main__":
    main("notification", Settings, build)
