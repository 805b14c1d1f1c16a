"""Wires what nearly every service has: database, tokens, revocations, pages, relay, consumer, calls to others."""

from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis

from mesh.app import App, Registration
from mesh.database.migrate import head
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.consumer import Consumer
from mesh.events.inbox import Inbox, TopicSubscription
from mesh.events.producer import Producer
from mesh.events.relay import Relay
from mesh.events.shares import Shares
from mesh.retention import RetentionCleaner
from mesh.rpc.client import ServiceClient
from mesh.rpc.identity import KeySource, PublishedKeys, Tokens
from mesh.rpc.pagination import Pages
from mesh.rpc.revocations import Revocations
from mesh.rpc.service_identity import ServiceSigner, read_callers
from mesh.runtime import tls
from mesh.runtime.lifecycle import Component
from mesh.runtime.settings import ServiceSettings, pairs
from mesh.runtime.signing_keys import private_key


class Platform:
    """Provides the components that a service's `build` needs."""

    def __init__(self, service: str, settings: ServiceSettings, keys: KeySource | None = None) -> None:
        """keys: given by the service that signs tokens; the others fetch the published ones."""
        self.service, self.settings = service, settings
        self.redis = _redis(settings.redis_url)
        self.revocations = Revocations(self.redis)
        self.keys = keys or PublishedKeys(settings.jwks_target, tls.channel_credentials(settings))
        self.tokens = Tokens(self.keys, self.revocations, issuer=settings.issuer, audience=settings.audience)
        self.pages = Pages(settings.page_token_key)
        self.callers = read_callers(service, pairs(settings.caller_keys))
        self._clients: list[ServiceClient] = []

    def database(self, *, sorts: bool = True) -> Database:
        """The service's schema. sorts: as of Database."""
        return Database(
            self.settings.database_url,
            revision=head(self.service),
            connections=self.settings.database_connections,
            statement_timeout_ms=self.settings.statement_timeout_ms,
            sorts=sorts,
        )

    def own_redis(self) -> Redis:
        """What the service keeps of its own."""
        return _redis(self.settings.own_redis_url or self.settings.redis_url)

    def replica(self, url: str) -> Database:
        """The service's schema, for reads only. url: of its runtime role, on the primary or on a standby of it."""
        return Database(
            url,
            revision=head(self.service),
            connections=self.settings.database_connections,
            statement_timeout_ms=self.settings.statement_timeout_ms,
            reads_only=True,
        )

    def consumer(
        self, database: Database, subscriptions: Sequence[TopicSubscription], *, gather_ms: int = 0
    ) -> Consumer:
        """A consumer that applies each event of these topics once, in the transaction of its handler.

        gather_ms: how long events may wait for others, so that more of them share a transaction.
        """
        inbox = Inbox(database, subscriptions)
        return Consumer(
            self.settings.kafka_bootstrap,
            group=self.service,
            topics=inbox.topics,
            handler=inbox,
            parking=inbox,
            options=self.settings.kafka_options,
            instance=self.settings.consumer_instance,
            gather_ms=gather_ms,
        )

    def client(self, callee: str) -> ServiceClient:
        """Calls to another service; raises ValueError without its address or a key, OSError for an unreadable one."""
        target = dict(pairs(self.settings.call_targets)).get(callee)
        if target is None:
            raise ValueError(
                f"FOCUSMESH_CALL_TARGETS has no address of {callee}: declare the call in services.toml, "
                "or give the address in the settings of a test (docs/calling-a-service.md)"
            )
        if not self.settings.service_key_file:
            raise ValueError(f"FOCUSMESH_SERVICE_KEY_FILE names no key to sign calls to {callee} with")
        key = private_key(Path(self.settings.service_key_file).read_bytes())
        signer = ServiceSigner(self.service, key)
        self._clients.append(ServiceClient(callee, target, signer, tls.channel_credentials(self.settings)))
        return self._clients[-1]

    def app(
        self,
        servicers: Sequence[Registration],
        *,
        database: Database | None = None,
        components: Sequence[Component] = (),
    ) -> App:
        """The service. database: adds the relay of its outbox and the retention of its tables."""
        common: list[Component] = [self.revocations, self.keys]
        if database is not None:
            producer = Producer(self.settings.kafka_bootstrap, name=self.service, options=self.settings.kafka_options)
            relay = Relay(self.settings.database_url, producer, service=self.service)
            outbox.add_append_listener(relay.wake)
            common += [database, producer, relay, RetentionCleaner(database), Shares(database)]
        return App(
            self.service,
            self.settings,
            self.tokens,
            servicers,
            [*common, *self._clients, *components],
            database,
            callers=self.callers,
        )


def _redis(url: str) -> Redis:
    redis: Redis = Redis.from_url(
        url, decode_responses=True, socket_connect_timeout=1, socket_timeout=2, health_check_interval=5
    )
    return redis
