"""Events, their occurrences and reminders, feeds and subscriptions, and what mesh keeps beside them."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

TABLES = """
-- Users of whom an event came, and where they are, as far as it is known. The row of a deleted user stays: what comes
-- later is dropped.
CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    time_zone text,
    is_deleted boolean NOT NULL DEFAULT false
);

-- The specification's columns, and what they are made from.
CREATE TABLE events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    title text NOT NULL,
    description text,
    scheduled_start timestamptz NOT NULL,
    duration_minutes integer NOT NULL DEFAULT 25,
    repeat_type text NOT NULL DEFAULT 'none' CHECK (repeat_type IN ('none', 'daily', 'weekly', 'monthly', 'yearly')),
    repeat_until timestamptz,
    status text NOT NULL CHECK (status IN ('planned', 'cancelled', 'completed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    location text,
    start_slot text NOT NULL,
    time_zone text,
    length_days integer NOT NULL CHECK (length_days >= 0),
    length_seconds integer NOT NULL CHECK (length_seconds >= 0),
    rule jsonb,
    added jsonb NOT NULL DEFAULT '[]',
    reminders jsonb NOT NULL DEFAULT '[]',
    todo_task_id uuid,
    series_id uuid NOT NULL,
    subscription_id uuid,
    uid text,
    sequence integer NOT NULL DEFAULT 0,
    stamped_at timestamptz,
    ends_at timestamptz,
    last_slot text,
    next_end_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    version bigint NOT NULL DEFAULT 1
);
-- The specification's indexes.
CREATE INDEX idx_events_user_date ON events (user_id, scheduled_start);
CREATE INDEX idx_events_status ON events (status);
-- For the list of a user's events, for imports, and for periodic tasks.
CREATE INDEX events_user ON events (user_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX events_uid ON events (user_id, uid) WHERE uid IS NOT NULL AND subscription_id IS NULL
    AND deleted_at IS NULL;
CREATE UNIQUE INDEX events_subscription ON events (subscription_id, uid) WHERE subscription_id IS NOT NULL;
CREATE INDEX events_next_end ON events (next_end_at) WHERE next_end_at IS NOT NULL;
CREATE INDEX events_purge ON events (purge_at) WHERE purge_at IS NOT NULL;

-- Occurrences that have something of their own, at most 1,000 of an event: overrides, cancellations, links by slot.
CREATE TABLE occurrences (
    event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
    slot text NOT NULL,
    user_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'planned' CHECK (status IN ('planned', 'cancelled', 'completed')),
    title text,
    description text,
    location text,
    start_slot text,
    start_time timestamptz,
    length_days integer CHECK (length_days >= 0),
    length_seconds integer CHECK (length_seconds >= 0),
    session_id uuid,
    starts integer NOT NULL DEFAULT 0,
    completed_at timestamptz,
    is_completed_by_session boolean NOT NULL DEFAULT false,
    PRIMARY KEY (event_id, slot),
    CHECK (num_nulls(length_days, length_seconds) IN (0, 2)),
    CHECK ((num_nonnulls(start_slot, length_days) > 0) = (start_time IS NOT NULL))
);
-- For windows into which an occurrence was moved, in the order of lists.
CREATE INDEX occurrences_moved ON occurrences (user_id, start_time, event_id, slot COLLATE "C")
    WHERE start_time IS NOT NULL;
CREATE INDEX occurrences_user ON occurrences (user_id);
CREATE INDEX occurrences_session ON occurrences (user_id, session_id) WHERE session_id IS NOT NULL;

-- Of each reminder of an event the next instant, at most ten of an event.
CREATE TABLE event_reminders (
    event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
    reminder text NOT NULL,
    user_id uuid NOT NULL,
    remind_at timestamptz NOT NULL,
    slot text,
    PRIMARY KEY (event_id, reminder)
);
CREATE INDEX event_reminders_due ON event_reminders (remind_at);
CREATE INDEX event_reminders_user ON event_reminders (user_id, remind_at, event_id, reminder);

CREATE TABLE feeds (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    include_tasks boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_read_at timestamptz,
    etag text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX feeds_user ON feeds (user_id);

CREATE TABLE subscriptions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    http_etag text,
    http_last_modified text,
    event_count integer NOT NULL DEFAULT 0,
    issue_count integer NOT NULL DEFAULT 0,
    read_at timestamptz,
    tried_at timestamptz,
    next_read_at timestamptz NOT NULL,
    leased_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    version bigint NOT NULL DEFAULT 1
);
CREATE INDEX subscriptions_user ON subscriptions (user_id);
CREATE INDEX subscriptions_due ON subscriptions (next_read_at);
"""


def upgrade() -> None:
    """Creates the schema."""
    op.execute(messaging_tables())
    op.execute(TABLES)


def downgrade() -> None:
    """Never: calendars would be lost."""
    raise NotImplementedError("Going back would lose calendars: restore a backup instead.")
