"""Rows that the benchmark begins with, and what it counts afterwards. Connects as administrator, past the services."""

import uuid
import zlib
from typing import Any

import orjson
import psycopg

from mesh.events.outbox import SHARDS
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Frequency, Rule

USERS = 200
TASKS = 100_000

_SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS bench;
    DROP TABLE IF EXISTS bench.outbox;
    CREATE TABLE bench.outbox (LIKE todo.outbox INCLUDING ALL);
    GRANT USAGE ON SCHEMA bench TO todo;
    GRANT SELECT, INSERT, DELETE ON bench.outbox TO todo"""
_TASKS = """
    INSERT INTO todo.tasks (id, user_id, title, description, status, due_date, reminder_time, is_recurring,
        recurrence_schedule, recurrence, repeat_from, time_zone, series_id, slot, created_at, updated_at, completed_at,
        version)
    SELECT task, users.id[1 + number %% cardinality(users.id)], 'Task number ' || number,
        repeat('lorem ipsum ', 8),
        CASE WHEN number / 200 %% 4 = 0 THEN 'complete' ELSE 'pending' END,
        due, CASE WHEN number / 200 %% 2 = 0 THEN due - interval '1 hour' END,
        recurs, CASE WHEN recurs THEN 'weekly' END, CASE WHEN recurs THEN %s::jsonb END,
        CASE WHEN recurs THEN 'from_due_next_future' END, CASE WHEN recurs THEN 'UTC' END,
        CASE WHEN recurs THEN task END,
        CASE WHEN recurs THEN to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') END,
        now() - number * interval '1 second', now() - number * interval '1 second',
        CASE WHEN number / 200 %% 4 = 0 THEN now() END, 1
    FROM (SELECT number, uuidv7() AS task, number / 200 %% 10 = 0 AS recurs,
            date_trunc('second', now()) + number %% 30 * interval '1 day' AS due
        FROM generate_series(1, %s) AS number) AS numbered, (SELECT %s::uuid[] AS id) AS users"""
_WEEKLY = orjson.dumps(to_document(Rule(Frequency.WEEKLY))).decode()
_EVENTS = """
    INSERT INTO todo.outbox (event_id, topics, key, version, shard, value)
    SELECT id, ARRAY['task-events', 'task-updates'], owner, 1, shard, convert_to(jsonb_build_object(
        'specversion', '1.0', 'id', id, 'source', '/focusmesh/todo', 'type', 'task-created', 'subject', task,
        'time', now(), 'datacontenttype', 'application/json', 'partitionkey', owner, 'sequence', lpad('1', 20, '0'),
        'data', jsonb_build_object('event_id', id, 'event_type', 'task-created', 'task_id', task, 'timestamp', now(),
            'schema_version', '1.0', 'payload', jsonb_build_object('title', 'Task number ' || number,
                'description', repeat('lorem ipsum ', 8), 'status', 'pending', 'due_date', now(),
                'reminder_time', NULL, 'is_recurring', false, 'recurrence_schedule', NULL)))::text, 'UTF8')
    FROM (SELECT number, uuidv7() AS id, uuidv7() AS task, users.id[1 + number %% cardinality(users.id)] AS owner,
            users.shard[1 + number %% cardinality(users.id)] AS shard
        FROM generate_series(1, %s) AS number, (SELECT %s::text[] AS id, %s::smallint[] AS shard) AS users) AS event"""


class Dataset:
    """The database of the benchmark's stack."""

    def __init__(self, administrator_url: str) -> None:
        """administrator_url: of the services' database."""
        self._connection: psycopg.Connection[Any] = psycopg.connect(administrator_url, autocommit=True)

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()

    def seed(self, user_id: str, tasks: int = TASKS) -> None:
        """Tasks of many users, of which `user_id` is one, and the table that stands for FastAPI's outbox."""
        for statement in _SCHEMA.split(";"):
            self._connection.execute(statement)
        self._connection.execute("DELETE FROM todo.tasks WHERE description = repeat('lorem ipsum ', 8)")
        users = [user_id, *(str(uuid.uuid4()) for _ in range(USERS - 1))]
        self._connection.execute(_TASKS, (_WEEKLY, tasks, users))
        self._connection.execute("VACUUM ANALYZE todo.tasks")

    def tidy(self) -> None:
        """Between rounds: no table's dead rows or unpublished events weigh on the next measurement."""
        self._connection.execute("TRUNCATE bench.outbox")
        self._connection.execute("VACUUM todo.outbox, todo.idempotency")

    def settle(self) -> None:
        """Vacuums the audit log, which has grown: autovacuum would do it during a measurement."""
        for table in ("audit_records", "inbox", "aggregate_versions"):
            self._connection.execute(f"VACUUM ANALYZE audit.{table}")

    def tasks_of(self, user_id: str) -> int:
        """How many tasks a user has."""
        return self._number("SELECT count(*) FROM todo.tasks WHERE user_id = %s", user_id)

    def outbox_empty(self) -> bool:
        """Whether every event was handed to Kafka."""
        return self._number("SELECT CASE WHEN EXISTS (SELECT FROM todo.outbox) THEN 1 ELSE 0 END") == 0

    def fill_outbox(self, events: int) -> None:
        """Valid events of many users that wait for the relay."""
        users = [str(uuid.uuid4()) for _ in range(USERS)]
        shards = [zlib.crc32(user.encode()) % SHARDS for user in users]
        self._connection.execute(_EVENTS, (events, users, shards))
        self._connection.execute("ANALYZE todo.outbox")

    def server_version(self) -> str:
        """Of Postgres."""
        return str(self._connection.info.parameter_status("server_version"))

    def _number(self, statement: str, *values: str) -> int:
        row = self._connection.execute(statement, values).fetchone()
        return int(row[0]) if row else 0
