"""Recurring tasks as instances of series, and reminders relative to the due time."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the columns; `services/todo/jobs.py` gives a series to the recurring tasks that exist."""
    op.execute(
        """
        ALTER TABLE tasks
            ADD COLUMN recurrence jsonb,
            ADD COLUMN time_zone text,
            ADD COLUMN repeat_from text
                CHECK (repeat_from IN ('from_due_next_future', 'from_due_every_missed', 'from_completion')),
            ADD COLUMN series_id uuid,
            ADD COLUMN slot text,
            ADD COLUMN reminder_offsets jsonb,
            ADD COLUMN series_values jsonb,
            ADD COLUMN is_withdrawn boolean NOT NULL DEFAULT false,
            DROP CONSTRAINT tasks_recurrence_schedule_check,
            ADD CONSTRAINT tasks_recurrence_schedule_check
                CHECK (recurrence_schedule IN ('daily', 'weekly', 'monthly', 'yearly'));

        UPDATE tasks SET repeat_from = 'from_due_next_future', recurrence = jsonb_build_object(
            'frequency', recurrence_schedule, 'interval', 1, 'count', NULL, 'until_time', NULL, 'until_date', NULL,
            'by_day', '[]'::jsonb, 'by_month_day', '[]'::jsonb, 'by_month', '[]'::jsonb, 'by_set_pos', '[]'::jsonb,
            'week_start', 'MO', 'month_end', 'clamp')
        WHERE is_recurring;

        ALTER TABLE tasks
            ADD CONSTRAINT tasks_rule CHECK (is_recurring = (recurrence IS NOT NULL)
                AND is_recurring = (repeat_from IS NOT NULL)),
            ADD CONSTRAINT tasks_series CHECK ((is_recurring OR series_id IS NULL)
                AND (series_id IS NULL) = (slot IS NULL) AND (series_id IS NULL) = (time_zone IS NULL)),
            ADD CONSTRAINT tasks_withdrawn CHECK (deleted_at IS NOT NULL OR NOT is_withdrawn);

        -- One instance for each slot of a series.
        CREATE UNIQUE INDEX idx_tasks_series_slot ON tasks (series_id, slot) WHERE series_id IS NOT NULL;
        -- Rows of withdrawn instances are not purged.
        DROP INDEX idx_tasks_purge;
        CREATE INDEX idx_tasks_purge ON tasks (purge_at) WHERE purge_at IS NOT NULL AND NOT is_withdrawn;
        -- Recurring tasks of before, until `services/todo/jobs.py` has given them series.
        CREATE INDEX idx_tasks_without_series ON tasks (id) WHERE is_recurring AND series_id IS NULL;
        -- The series that a user has now: their instances that are not complete, or were completed a moment ago.
        CREATE INDEX idx_tasks_user_series ON tasks (user_id, completed_at) INCLUDE (series_id)
            WHERE series_id IS NOT NULL AND deleted_at IS NULL;
        """
    )


def downgrade() -> None:
    """Never: what recurs, and how, would be lost."""
    raise NotImplementedError("Going back would lose how tasks recur: restore a backup instead.")
