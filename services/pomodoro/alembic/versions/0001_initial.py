"""Sessions with their tasks and transitions, and what mesh keeps beside them."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid,
    title varchar(255),
    status text NOT NULL CHECK (status IN ('running', 'paused', 'finished', 'planned')),
    duration_pomodoro_minutes integer NOT NULL DEFAULT 25,
    duration_short_break_minutes integer NOT NULL DEFAULT 5,
    duration_long_break_minutes integer NOT NULL DEFAULT 15,
    long_break_interval integer NOT NULL DEFAULT 4,
    auto_start_breaks boolean NOT NULL DEFAULT true,
    auto_start_focus boolean NOT NULL DEFAULT false,
    interval_number integer NOT NULL DEFAULT 1,
    interval_end timestamptz,
    -- Lengths in microseconds, as of the instant as_of; the specification's seconds are made from them.
    progress bigint NOT NULL DEFAULT 0,
    focused bigint NOT NULL DEFAULT 0,
    rested bigint NOT NULL DEFAULT 0,
    as_of timestamptz,
    progress_seconds integer NOT NULL GENERATED ALWAYS AS (progress / 1000000) STORED,
    total_focused_seconds integer NOT NULL GENERATED ALWAYS AS (focused / 1000000) STORED,
    pomodoro_count integer NOT NULL DEFAULT 0,
    short_break_count integer NOT NULL DEFAULT 0,
    long_break_count integer NOT NULL DEFAULT 0,
    interruption_count integer NOT NULL DEFAULT 0,
    task_count integer NOT NULL DEFAULT 0,
    selected_task_id uuid,
    current_task_id uuid,
    outcome text CHECK (outcome IN ('completed', 'partial', 'abandoned')),
    original_event_id uuid,
    slot text,
    planned_start_time timestamptz,
    planned_minutes integer CHECK (planned_minutes > 0),
    start_time timestamptz,
    end_time timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    purge_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT sessions_started CHECK ((status = 'planned') = (start_time IS NULL)),
    CONSTRAINT sessions_running CHECK ((status = 'running') = (interval_end IS NOT NULL)),
    CONSTRAINT sessions_finished CHECK ((status = 'finished') = (end_time IS NOT NULL)),
    CONSTRAINT sessions_outcome CHECK ((status = 'finished') = (outcome IS NOT NULL)),
    CONSTRAINT sessions_planned CHECK (
        num_nulls(original_event_id, slot, planned_start_time, planned_minutes) IN (0, 4)
    ),
    CONSTRAINT sessions_deleted CHECK ((deleted_at IS NULL) = (purge_at IS NULL))
) WITH (fillfactor = 80);
-- The specification's indexes.
CREATE INDEX idx_sessions_user_status ON sessions (user_id, status);
CREATE INDEX idx_sessions_start_time ON sessions (start_time);
-- A user has one running session at most.
CREATE UNIQUE INDEX sessions_one_running ON sessions (user_id) WHERE status = 'running';
-- For the list of a user, and for jobs.
CREATE INDEX idx_sessions_user_created ON sessions (user_id, created_at DESC, id DESC);
CREATE INDEX idx_sessions_interval_end ON sessions (interval_end) WHERE interval_end IS NOT NULL;
CREATE INDEX idx_sessions_paused ON sessions (as_of) WHERE status = 'paused' AND deleted_at IS NULL;
CREATE INDEX idx_sessions_finished ON sessions (end_time) WHERE status = 'finished' AND deleted_at IS NULL;
CREATE INDEX idx_sessions_purge ON sessions (purge_at) WHERE purge_at IS NOT NULL;

CREATE TABLE tasks (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    title text NOT NULL,
    description text,
    is_done boolean NOT NULL DEFAULT false,
    position integer NOT NULL DEFAULT 0,
    focused_seconds integer NOT NULL DEFAULT 0,
    pomodoro_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX idx_tasks_session ON tasks (session_id);

CREATE TABLE transitions (
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    kind text NOT NULL CHECK (kind IN ('start', 'pause', 'resume', 'end', 'skip', 'finish', 'gap', 'task')),
    at timestamptz NOT NULL,
    runs boolean NOT NULL,
    device_id text,
    cause text CHECK (cause IN ('sleep', 'idle', 'break', 'internal', 'external')),
    gap_start timestamptz,
    gap_end timestamptz,
    task_id uuid,
    PRIMARY KEY (session_id, number),
    CONSTRAINT transitions_gap CHECK (
        (kind = 'gap') = (cause IS NOT NULL)
        AND (kind = 'gap') = (gap_start IS NOT NULL) AND (kind = 'gap') = (gap_end IS NOT NULL)
        AND gap_start <= gap_end
    )
);
"""

APPEND_ONLY = """
-- Deleted only with their session, by the foreign key, which acts as the owner of the table.
REVOKE ALL ON transitions FROM pomodoro;
GRANT SELECT, INSERT ON transitions TO pomodoro;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transitions is append-only: refused %', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON transitions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Creates the schema."""
    op.execute(messaging_tables())
    op.execute(TABLES)
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    """Never: sessions would be lost."""
    raise NotImplementedError("Going back would lose sessions: restore a backup instead.")
