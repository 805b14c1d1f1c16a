"""Schedules, the log of completions, plans, open tasks with their reminders, and what mesh keeps beside them."""

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

-- The specification's columns, and what they are made from. The id is that of the series.
CREATE TABLE recurrence_schedules (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    parent_task_id uuid NOT NULL,
    frequency varchar(20) NOT NULL CHECK (frequency IN ('daily', 'weekly', 'monthly', 'yearly')),
    next_due_date timestamptz NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    rule jsonb NOT NULL,
    time_zone text NOT NULL,
    repeat_from text NOT NULL,
    start_slot text NOT NULL,
    next_slot text NOT NULL,
    made integer NOT NULL,
    cancelled jsonb NOT NULL DEFAULT '[]',
    moved jsonb NOT NULL DEFAULT '{}',
    successor jsonb,
    version bigint NOT NULL DEFAULT 1
);
-- The specification's indexes.
CREATE INDEX idx_recurrence_parent_task ON recurrence_schedules (parent_task_id);
CREATE INDEX idx_recurrence_active_next ON recurrence_schedules (is_active, next_due_date);
-- For the list of a user's schedules.
CREATE INDEX recurrence_schedules_user ON recurrence_schedules (user_id, created_at DESC, id DESC);

-- The log: of each series the newest 1,000 entries.
CREATE TABLE completions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    series_id uuid NOT NULL,
    task_id uuid,
    slot text NOT NULL,
    completed_at timestamptz NOT NULL,
    local_date date NOT NULL,
    timing text NOT NULL CHECK (timing IN ('early', 'on_time', 'late', 'skipped')),
    next_slot text,
    undone_at timestamptz
);
CREATE INDEX completions_series ON completions (series_id, completed_at DESC, id DESC);
CREATE INDEX completions_slot ON completions (series_id, slot) WHERE undone_at IS NULL AND task_id IS NOT NULL;
CREATE INDEX completions_task ON completions (task_id) WHERE undone_at IS NULL;
CREATE INDEX completions_user ON completions (user_id);

-- What todo is asked to do, of each series in this order, until it did.
CREATE TABLE plans (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    series_id uuid NOT NULL,
    target_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('put', 'revise', 'withdraw', 'reopen')),
    slot text NOT NULL,
    task_id uuid,
    changes jsonb NOT NULL DEFAULT '{}',
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX plans_series ON plans (series_id, seq);
CREATE INDEX plans_due ON plans (due_at);
CREATE INDEX plans_user ON plans (user_id);

-- Tasks that are open and recur or have reminders.
CREATE TABLE open_tasks (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    title text NOT NULL,
    is_begun boolean NOT NULL,
    due_date timestamptz,
    time_zone text,
    series_id uuid,
    slot text
);
CREATE INDEX open_tasks_series ON open_tasks (series_id) WHERE series_id IS NOT NULL;
CREATE INDEX open_tasks_user ON open_tasks (user_id);

-- Their reminders, at most eleven a task; those that fired, or were in the past at once, stay and never fire again.
CREATE TABLE task_reminders (
    task_id uuid NOT NULL REFERENCES open_tasks ON DELETE CASCADE,
    reminder text NOT NULL,
    user_id uuid NOT NULL,
    remind_at timestamptz NOT NULL,
    is_waiting boolean NOT NULL,
    PRIMARY KEY (task_id, reminder)
);
CREATE INDEX task_reminders_due ON task_reminders (remind_at) WHERE is_waiting;
CREATE INDEX task_reminders_user ON task_reminders (user_id, remind_at, task_id, reminder) WHERE is_waiting;
"""


def upgrade() -> None:
    """Creates the schema."""
    op.execute(messaging_tables())
    op.execute(TABLES)


def downgrade() -> None:
    """Never: schedules would be lost."""
    raise NotImplementedError("Going back would lose schedules: restore a backup instead.")
