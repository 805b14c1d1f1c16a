"""A publishing and a consuming service in small, each in a schema of its own, on the real broker and database."""

from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
from confluent_kafka.admin import NewTopic
from psycopg.conninfo import make_conninfo

from mesh.database.migrate import messaging_tables
from mesh.events import dead_letters
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from stack import database
from stack.infrastructure.kafka import admin
from tests.events.fakes import REVISION, Applied, Source
from tests.support.databases import opened_at

_OWN_TABLES = f"""
    CREATE TABLE alembic_version (version_num text NOT NULL);
    INSERT INTO alembic_version VALUES ('{REVISION}');
    CREATE TABLE items (id uuid PRIMARY KEY, user_id uuid NOT NULL, version bigint NOT NULL);
    CREATE TABLE applied (position bigint GENERATED ALWAYS AS IDENTITY (CACHE 1), event_id uuid NOT NULL,
        subject uuid NOT NULL, version bigint NOT NULL, traceparent text NOT NULL);
"""
_END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"


@pytest.fixture(scope="session")
def events_database(cluster: database.Cluster) -> Iterator[str]:
    """Connection string of the administrator to one database for all tests here: each makes schemas of its own."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield cluster.administrator_url(name)
    database.drop(cluster, name)


@pytest.fixture
def new_schema(events_database: str) -> Iterator[Callable[[str], str]]:
    """Makes a schema with the tables of mesh, and a role that may use it; gives the role's connection string."""
    made: list[str] = []
    with psycopg.connect(events_database, autocommit=True) as administrator:

        def make(name: str) -> str:
            schema = f"{name}_{new_id().replace('-', '')}"
            made.append(schema)
            administrator.execute(f"CREATE ROLE {schema} LOGIN PASSWORD '{schema}'")
            administrator.execute(f"ALTER ROLE {schema} SET search_path = {schema}")
            administrator.execute(f"CREATE SCHEMA {schema}")
            administrator.execute(f"SET search_path = {schema}")
            administrator.execute(messaging_tables())
            administrator.execute(_OWN_TABLES)
            administrator.execute(f"GRANT CONNECT ON DATABASE {administrator.info.dbname} TO {schema}")
            administrator.execute(f"GRANT USAGE ON SCHEMA {schema} TO {schema}")
            administrator.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}")
            administrator.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {schema}")
            return make_conninfo(events_database, user=schema, password=schema)

        yield make
        for schema in made:
            # A session that a test left hanging would keep the relay's lock from the next test.
            administrator.execute(_END_SESSIONS, (schema,))
            administrator.execute(f"DROP SCHEMA {schema} CASCADE")
            administrator.execute(f"DROP OWNED BY {schema}")
            administrator.execute(f"DROP ROLE {schema}")


@pytest.fixture
def source_url(new_schema: Callable[[str], str]) -> str:
    """Database of the publishing service."""
    return new_schema("source")


@pytest.fixture
def target_url(new_schema: Callable[[str], str]) -> str:
    """Database of the consuming service."""
    return new_schema("target")


@pytest.fixture
def group() -> str:
    """Name of the consuming service; every test has its own, so that none waits for a consumer that another killed."""
    return f"group-{new_id()}"


@pytest.fixture
def new_topic(kafka: str, group: str) -> Callable[..., str]:
    """Makes a topic of three partitions and the group's dead-letter topic beside it."""
    client = admin({"bootstrap.servers": kafka})

    def make(name: str, **settings: str) -> str:
        topic = f"{name}-{new_id()}"
        expected = [NewTopic(topic, 3, 1, config=settings), NewTopic(dead_letters.topic_of(topic, group), 1, 1)]
        for made in client.create_topics(expected, operation_timeout=20).values():
            made.result(20)
        return topic

    return make


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    """A new topic."""
    return new_topic("items")


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[Producer]:
    """A producer that runs."""
    producer = Producer(kafka, name="test")
    producer.start()
    yield producer
    await producer.close()


@pytest.fixture
async def source(source_url: str, topic: str) -> AsyncIterator[Source]:
    """The publishing service; its relay is the test's to start."""
    async with opened_at(source_url, REVISION, connections=16) as database:
        yield Source(database, source_url, (topic,))


@pytest.fixture
async def target(target_url: str) -> AsyncIterator[Applied]:
    """The consuming service's tables; its consumer is the test's to start."""
    async with opened_at(target_url, REVISION, connections=16) as database:
        yield Applied(database)
