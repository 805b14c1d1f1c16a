-- Tables of every service that publishes, consumes or replays responses, in its own schema.
-- Run once, by the owner role, with the schema first on the search path.

-- Events that committed with their write and are not yet in Kafka. Rows live for milliseconds: a table that is nearly
-- empty after millions of rows must be vacuumed by count, not by share.
CREATE TABLE outbox (
    seq         bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    event_id    uuid NOT NULL CONSTRAINT outbox_event UNIQUE,
    topics      text[] NOT NULL CHECK (cardinality(topics) BETWEEN 1 AND 8),
    key         text NOT NULL,
    version     bigint NOT NULL,
    shard       smallint NOT NULL CHECK (shard BETWEEN 0 AND 7),
    value       bytea NOT NULL CHECK (octet_length(value) <= 524288),
    traceparent text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 100,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX outbox_shard ON outbox (shard, seq);

-- The epoch of this database, in every event that it publishes. Raised by one after the database was restored from a
-- backup: the versions of its aggregates are lower then, and consumers would drop new events as stale.
CREATE TABLE database_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    integer NOT NULL DEFAULT 1 CHECK (epoch > 0)
);
INSERT INTO database_epoch DEFAULT VALUES;

-- Events that were applied here: duplicates are dropped. Kept for longer than Kafka keeps messages.
CREATE TABLE inbox (
    source      text NOT NULL,
    event_id    uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX inbox_received ON inbox USING brin (received_at);

-- The newest (epoch, version) of every foreign aggregate that was applied here: an older one is a stale replay.
CREATE TABLE aggregate_versions (
    source  text NOT NULL,
    subject text NOT NULL,
    epoch   integer NOT NULL DEFAULT 1,
    version bigint NOT NULL,
    PRIMARY KEY (source, subject)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Keys with a dead letter: their later messages follow it, in order, until an operator replays them.
-- (partition, message_offset) is the first dead letter.
CREATE TABLE parked (
    topic          text NOT NULL,
    key            text NOT NULL,
    partition      integer NOT NULL,
    message_offset bigint NOT NULL,
    reason         text NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, key)
);

-- Responses of calls that carried a request_id, replayed when the call is retried.
CREATE TABLE idempotency (
    user_id     uuid NOT NULL,
    method      text NOT NULL,
    request_id  uuid NOT NULL,
    fingerprint bytea NOT NULL,
    response    bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, method, request_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX idempotency_created ON idempotency USING brin (created_at);
