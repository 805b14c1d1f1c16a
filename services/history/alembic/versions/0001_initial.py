"""The archive with its partitions, intervals, aggregates, goals, and what mesh keeps beside them."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

TABLES = """
-- Where users were, by effective instant: [microseconds since the epoch, zone, minutes of the day start]. The row of a
-- deleted user stays, without any of that: events that come later are dropped.
CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    zones jsonb NOT NULL DEFAULT '[]',
    week_start text NOT NULL DEFAULT 'monday' CHECK (week_start IN ('monday', 'saturday', 'sunday')),
    is_deleted boolean NOT NULL DEFAULT false
);

-- The intervals of every session that have ended, also of sessions that are not over: what figures are made from.
CREATE TABLE recorded_sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    begin_time timestamptz,
    end_time timestamptz,
    intervals jsonb NOT NULL,
    todo_task_ids jsonb NOT NULL DEFAULT '{}',
    archived_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    is_manual boolean NOT NULL DEFAULT false,
    CONSTRAINT recorded_sessions_deleted CHECK ((deleted_at IS NULL) = (purge_at IS NULL))
);
CREATE INDEX recorded_sessions_user ON recorded_sessions (user_id, end_time, id);
CREATE INDEX recorded_sessions_purge ON recorded_sessions (purge_at) WHERE purge_at IS NOT NULL;

-- The same, split at the days and hours of the user. The index holds all that summaries read.
CREATE TABLE session_days (
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    local_date date NOT NULL,
    hour smallint NOT NULL CHECK (hour BETWEEN 0 AND 23),
    task_id uuid,
    focused_seconds integer NOT NULL,
    break_seconds integer NOT NULL,
    pomodoro_count integer NOT NULL,
    planned_seconds integer NOT NULL
);
CREATE INDEX session_days_user_date ON session_days (user_id, local_date)
    INCLUDE (hour, task_id, focused_seconds, break_seconds, pomodoro_count, planned_seconds);
CREATE INDEX session_days_session ON session_days (session_id);

-- The title that a task last had in a session.
CREATE TABLE task_titles (
    user_id uuid NOT NULL,
    task_id uuid NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (user_id, task_id)
);

CREATE TABLE daily_user_aggregates (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    date_date date NOT NULL,
    total_pomodoros integer NOT NULL DEFAULT 0,
    total_focused_seconds integer NOT NULL DEFAULT 0,
    total_break_seconds integer NOT NULL DEFAULT 0,
    total_planned_seconds integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, date_date)
) WITH (fillfactor = 80);
-- The specification's index.
CREATE INDEX idx_aggregates_user_date ON daily_user_aggregates (user_id, date_date DESC);

CREATE TABLE goals (
    user_id uuid PRIMARY KEY,
    daily_minutes integer CHECK (daily_minutes BETWEEN 1 AND 1440),
    weekly_minutes integer CHECK (weekly_minutes BETWEEN 1 AND 10080),
    days_off jsonb NOT NULL DEFAULT '[]',
    vacations jsonb NOT NULL DEFAULT '[]',
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL
);
"""

ARCHIVE = """
CREATE TABLE sessions_archive (
    id uuid NOT NULL DEFAULT uuidv7(),
    original_session_id uuid,
    user_id uuid NOT NULL,
    title varchar(255),
    status text NOT NULL CHECK (status IN ('finished', 'paused', 'planned')),
    outcome text CHECK (outcome IN ('completed', 'partial', 'abandoned')),
    pomodoro_count integer NOT NULL DEFAULT 0,
    short_break_count integer NOT NULL DEFAULT 0,
    long_break_count integer NOT NULL DEFAULT 0,
    duration_pomodoro_minutes integer NOT NULL DEFAULT 25,
    duration_short_break_minutes integer NOT NULL DEFAULT 5,
    duration_long_break_minutes integer NOT NULL DEFAULT 15,
    long_break_interval integer NOT NULL DEFAULT 4,
    total_focused_seconds integer NOT NULL DEFAULT 0,
    total_break_seconds integer NOT NULL DEFAULT 0,
    interruption_count integer NOT NULL DEFAULT 0,
    task_count integer NOT NULL DEFAULT 0,
    original_event_id uuid,
    slot text,
    planned_start_time timestamptz,
    planned_minutes integer,
    start_time timestamptz,
    end_time timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    purge_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (id, created_at),
    CONSTRAINT sessions_archive_deleted CHECK ((deleted_at IS NULL) = (purge_at IS NULL))
) PARTITION BY RANGE (created_at);
-- The specification's index; with the id, so that pages have an order.
CREATE INDEX idx_history_user_date ON sessions_archive (user_id, created_at DESC, id DESC);

-- Its rows have the ids of those of the archive and go with them, in the same statement: a foreign key would keep a
-- partition from being detached.
CREATE TABLE session_tasks (
    id uuid NOT NULL DEFAULT uuidv7(),
    archived_session_id uuid NOT NULL,
    tasks jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
"""

PARTITIONS = """
-- What only the owner of the tables may do. The service's role may call these functions, and has no other DDL.

CREATE FUNCTION partition_name(parent text, month timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT parent || to_char(month AT TIME ZONE 'UTC', '_YYYYMM') $$;

-- Makes the partitions of these months (their begins, UTC) that are missing, and brings back those that are in cold
-- storage. They cannot be detached before the transaction ends. Returns how many were made or brought back.
CREATE FUNCTION make_partitions(months timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = history, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    month timestamptz;
    parent text;
    name text;
    made integer := 0;
BEGIN
    LOCK TABLE sessions_archive, session_tasks IN ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM unnest(months) AS wanted (month)
            WHERE to_regclass(format('history.%I', partition_name('session_tasks', wanted.month))) IS NULL) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('history.partitions'));
    FOREACH month IN ARRAY months LOOP
        IF month <> date_trunc('month', month) THEN
            RAISE EXCEPTION '% is not the begin of a month', month USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF to_regclass(format('history.%I', partition_name('session_tasks', month))) IS NOT NULL THEN
            CONTINUE;
        END IF;
        FOREACH parent IN ARRAY ARRAY['sessions_archive', 'session_tasks'] LOOP
            name := partition_name(parent, month);
            IF to_regclass(format('history_cold.%I', name)) IS NULL THEN
                EXECUTE format('CREATE TABLE history.%I (LIKE history.%I INCLUDING ALL)', name, parent);
                -- With it, the partition is attached without being read.
                EXECUTE format('ALTER TABLE history.%I ADD CONSTRAINT %I CHECK (created_at >= %L AND created_at < %L)',
                    name, name || '_month', month, month + interval '1 month');
            ELSE
                EXECUTE format('ALTER TABLE history_cold.%I SET SCHEMA history', name);
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON history.%I TO history', name);
            END IF;
            EXECUTE format('ALTER TABLE history.%I ATTACH PARTITION history.%I FOR VALUES FROM (%L) TO (%L)',
                parent, name, month, month + interval '1 month');
        END LOOP;
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Puts the oldest month that ends before an instant into cold storage, unless sessions of it can still be undeleted.
-- Returns how many months.
CREATE FUNCTION freeze_oldest_month(hot_from timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = history, pg_temp SET timezone = 'UTC'
SET lock_timeout = '500ms' AS $$
DECLARE
    month timestamptz;
    parent text;
    name text;
    keeps boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('history.partitions'));
    FOR month IN
        SELECT to_timestamp(right(class.relname, 6), 'YYYYMM') AS begin FROM pg_inherits
        JOIN pg_class AS class ON class.oid = inhrelid
        WHERE inhparent = 'history.sessions_archive'::regclass ORDER BY begin
    LOOP
        IF month + interval '1 month' > hot_from THEN
            RETURN 0;
        END IF;
        EXECUTE format('SELECT EXISTS (SELECT FROM history.%I WHERE deleted_at IS NOT NULL)',
            partition_name('sessions_archive', month)) INTO keeps;
        CONTINUE WHEN keeps;
        -- Nobody writes meanwhile; readers wait for the few catalogue changes only. Deletions until now count too.
        LOCK TABLE sessions_archive, session_tasks IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM history.%I WHERE deleted_at IS NOT NULL)',
            partition_name('sessions_archive', month)) INTO keeps;
        CONTINUE WHEN keeps;
        FOREACH parent IN ARRAY ARRAY['sessions_archive', 'session_tasks'] LOOP
            name := partition_name(parent, month);
            EXECUTE format('ALTER TABLE history.%I DETACH PARTITION history.%I', parent, name);
            EXECUTE format('REVOKE ALL ON history.%I FROM history', name);
            EXECUTE format('ALTER TABLE history.%I SET SCHEMA history_cold', name);
        END LOOP;
        RETURN 1;
    END LOOP;
    RETURN 0;
END
$$;

-- Sessions of a user in cold storage, `created_at` between two instants and beyond a key, in the order asked for.
CREATE FUNCTION cold_sessions(
    owner uuid, first timestamptz, before timestamptz, after_time timestamptz, after_id uuid, ascending boolean,
    most integer
) RETURNS SETOF sessions_archive
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = history, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    name text;
    found integer;
    rest integer := most;
BEGIN
    FOR name IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'history_cold' AND starts_with(tablename, 'sessions_archive_')
            AND tablename >= partition_name('sessions_archive', coalesce(first, '0001-01-01'))
            AND tablename <= partition_name('sessions_archive', coalesce(before, '9999-01-01'))
            AND CASE WHEN ascending
                THEN tablename >= partition_name('sessions_archive', coalesce(after_time, '0001-01-01'))
                ELSE tablename <= partition_name('sessions_archive', coalesce(after_time, '9999-01-01')) END
        ORDER BY CASE WHEN ascending THEN tablename END, tablename DESC
    LOOP
        EXIT WHEN rest <= 0;
        RETURN QUERY EXECUTE format(
            'SELECT * FROM history_cold.%I WHERE user_id = $1 AND created_at >= coalesce($2, ''-infinity'')
                AND created_at < coalesce($3, ''infinity'') AND ($4 IS NULL OR (created_at, id) %s ($4, $5))
            ORDER BY created_at %s, id %3$s LIMIT $6',
            name, CASE WHEN ascending THEN '>' ELSE '<' END, CASE WHEN ascending THEN 'ASC' ELSE 'DESC' END)
            USING owner, first, before, after_time, after_id, rest;
        GET DIAGNOSTICS found = ROW_COUNT;
        rest := rest - found;
    END LOOP;
END
$$;

-- The tasks of sessions of a user in cold storage.
CREATE FUNCTION cold_tasks(owner uuid, sessions uuid[], times timestamptz[])
RETURNS TABLE (session_id uuid, tasks jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = history, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    month text;
BEGIN
    FOR month IN SELECT DISTINCT to_char(wanted AT TIME ZONE 'UTC', '_YYYYMM') FROM unnest(times) AS each (wanted) LOOP
        CONTINUE WHEN to_regclass(format('history_cold.%I', 'session_tasks' || month)) IS NULL;
        RETURN QUERY EXECUTE format(
            'SELECT archived_session_id, tasks.tasks FROM history_cold.%I AS tasks
            JOIN history_cold.%I AS archive ON archive.id = archived_session_id
                AND archive.created_at = tasks.created_at
            JOIN unnest($2, $3) AS wanted (id, created_at)
                ON wanted.id = archive.id AND wanted.created_at = archive.created_at
            WHERE archive.user_id = $1', 'session_tasks' || month, 'sessions_archive' || month)
            USING owner, sessions, times;
    END LOOP;
END
$$;

-- Erases up to so many sessions of a user from cold storage; returns how many.
CREATE FUNCTION erase_cold(owner uuid, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = history, pg_temp AS $$
DECLARE
    name text;
    erased integer;
BEGIN
    FOR name IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'history_cold' AND starts_with(tablename, 'sessions_archive_')
    LOOP
        EXECUTE format(
            'WITH gone AS (DELETE FROM history_cold.%I WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM history_cold.%1$I WHERE user_id = $1 LIMIT $2)) RETURNING id, created_at)
            DELETE FROM history_cold.%I AS tasks USING gone
            WHERE archived_session_id = gone.id AND tasks.created_at = gone.created_at',
            name, replace(name, 'sessions_archive', 'session_tasks')) USING owner, most;
        GET DIAGNOSTICS erased = ROW_COUNT;
        IF erased > 0 THEN
            RETURN erased;
        END IF;
    END LOOP;
    RETURN 0;
END
$$;

REVOKE ALL ON FUNCTION make_partitions, freeze_oldest_month, cold_sessions, cold_tasks, erase_cold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions, freeze_oldest_month, cold_sessions, cold_tasks, erase_cold TO history;
"""


def upgrade() -> None:
    """Creates the schema."""
    op.execute(messaging_tables())
    op.execute(TABLES)
    op.execute(ARCHIVE)
    op.execute(PARTITIONS)


def downgrade() -> None:
    """Never: the history of users would be lost."""
    raise NotImplementedError("Going back would lose history: restore a backup instead.")
