"""Keeps the last state of events of the calendar, so that what waits of their reminders can be withdrawn."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
-- The last state of events of the calendar, checked again before something of them is sent.
CREATE TABLE events (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    series_id uuid NOT NULL,
    epoch integer NOT NULL,
    version bigint NOT NULL,
    is_deleted boolean NOT NULL,
    status text NOT NULL,
    start text NOT NULL,
    time_zone text,
    rule jsonb,
    added jsonb NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX events_user ON events (user_id);
CREATE INDEX events_series ON events (series_id, start) WHERE NOT is_deleted;
CREATE INDEX events_purge ON events (updated_at) WHERE is_deleted;

-- The same of their occurrences that were changed by themselves.
CREATE TABLE occurrences (
    event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
    slot text NOT NULL,
    user_id uuid NOT NULL,
    epoch integer NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL,
    start text NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, slot)
) WITH (fillfactor = 80);
CREATE INDEX occurrences_user ON occurrences (user_id);
CREATE INDEX occurrences_purge ON occurrences (ends_at);

ALTER TABLE notifications ADD COLUMN event_id uuid;
CREATE INDEX notifications_event ON notifications (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX reminders_event ON reminders (event_id) WHERE event_id IS NOT NULL;
"""


def upgrade() -> None:
    """Adds the tables, and to deliveries the event that they are of."""
    op.execute(TABLES)


def downgrade() -> None:
    """Never, like every revision."""
    raise NotImplementedError("Restore a backup instead.")
