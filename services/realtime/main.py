"""The realtime service: `python -m services.realtime.main`."""

from focusmesh.realtime.v1 import realtime_service_pb2
from focusmesh.realtime.v1.realtime_service_pb2_grpc import add_RealtimeServiceServicer_to_server

from mesh.app import App, main
from mesh.events.consumer import Consumer
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.rpc.policy import policy_of
from mesh.runtime import clock
from services.realtime.cache.feeds import Feeds
from services.realtime.cache.streams import Streams, Tail, client
from services.realtime.consumers import ChangePublisher
from services.realtime.errors import ShuttingDown
from services.realtime.handlers.realtime import RealtimeHandlers
from services.realtime.handlers.sessions import StreamSessions
from services.realtime.handlers.websocket import WebSocketServer
from services.realtime.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes."""
    platform = Platform("realtime", settings, keys)
    redis_url = settings.own_redis_url or settings.redis_url
    streams = Streams(client(redis_url, retries=1), retention_seconds=settings.retention_seconds)
    feeds = Feeds(streams, Tail(client(redis_url, retries=0)), settings)
    # Not `platform.consumer`: the effect is in Redis, whose streams drop duplicates, so there is no inbox.
    consumer = Consumer(
        settings.kafka_bootstrap,
        group="realtime",
        topics=ChangePublisher.topics,
        handler=ChangePublisher(streams),
        options=settings.kafka_options,
    )
    sessions = StreamSessions(feeds, streams, platform.revocations, clock.now, settings)
    subscribe = realtime_service_pb2.DESCRIPTOR.services_by_name["RealtimeService"].methods_by_name["Subscribe"]
    websocket = WebSocketServer(sessions, platform.tokens, policy_of(subscribe), settings)
    app = platform.app(
        [(add_RealtimeServiceServicer_to_server, RealtimeHandlers(sessions))],
        components=[feeds, consumer, websocket],
    )
    app.end_streams = lambda: feeds.close_all(ShuttingDown())
    return app


if __name__ == "__main__":
    main("realtime", Settings, build)
