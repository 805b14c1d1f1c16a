"""What was planned in the calendar."""

from alembic import op

revision = "0002"
down_revision = "0001"

PLANS = """
-- Occurrences that ended or were started, as they were planned then; beside it what the calendar said last of each.
CREATE TABLE planned_occurrences (
    user_id uuid NOT NULL,
    event_id uuid NOT NULL,
    slot text NOT NULL,
    series_id uuid NOT NULL,
    title text NOT NULL,
    start_time timestamptz NOT NULL,
    planned_minutes integer NOT NULL CHECK (planned_minutes >= 0),
    -- The user's date at start_time.
    local_date date NOT NULL,
    status text NOT NULL CHECK (status IN ('planned', 'completed', 'cancelled')),
    session_id uuid,
    PRIMARY KEY (user_id, event_id, slot)
);
CREATE INDEX planned_occurrences_date ON planned_occurrences (user_id, local_date);
CREATE INDEX planned_occurrences_start ON planned_occurrences (user_id, start_time, event_id, slot);
CREATE INDEX planned_occurrences_slot ON planned_occurrences (user_id, series_id, slot);
CREATE INDEX planned_occurrences_session ON planned_occurrences (user_id, session_id) WHERE session_id IS NOT NULL;
-- It holds all that is read of the session of each occurrence.
DROP INDEX session_days_session;
CREATE INDEX session_days_session ON session_days (session_id, user_id) INCLUDE (focused_seconds);
-- What was planned is never rewritten.
REVOKE UPDATE ON planned_occurrences FROM history;
GRANT UPDATE (local_date, status, session_id) ON planned_occurrences TO history;
"""


def upgrade() -> None:
    """Adds the table."""
    op.execute(PLANS)


def downgrade() -> None:
    """Never: what was planned would be lost."""
    raise NotImplementedError("Going back would lose what was planned: restore a backup instead.")
