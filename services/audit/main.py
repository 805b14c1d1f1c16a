"""The audit service: `python -m services.audit.main`."""

from focusmesh.audit.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server

from mesh.app import App, main
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from services.audit.consumers import Recorder
from services.audit.handlers import AuditHandlers
from services.audit.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes."""
    platform = Platform("audit", settings, keys)
    db = platform.database()
    return platform.app(
        [(add_AuditServiceServicer_to_server, AuditHandlers(db, platform.pages))],
        database=db,
        components=[platform.consumer(db, Recorder(clock.now).subscriptions())],
    )


if __name__ == "__main__":
    main("audit", Settings, build)
