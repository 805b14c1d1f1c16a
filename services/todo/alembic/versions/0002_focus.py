"""What was worked on tasks in focus sessions, beside an estimate of it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the columns of tasks, and what is known of focus sessions."""
    op.execute(
        """
        ALTER TABLE tasks
            ADD COLUMN estimated_pomodoros integer CHECK (estimated_pomodoros BETWEEN 1 AND 1000),
            ADD COLUMN focus_seconds integer NOT NULL DEFAULT 0,
            ADD COLUMN pomodoros integer NOT NULL DEFAULT 0;

        -- Seconds and pomodoros by the id of the task: {"TASK ID": [1500, 1]}. The sums of tasks are made of them.
        CREATE TABLE focus_sessions (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            totals jsonb NOT NULL DEFAULT '{}',
            is_deleted boolean NOT NULL DEFAULT false,
            corrected jsonb,
            is_removed boolean NOT NULL DEFAULT false
        );
        CREATE INDEX idx_focus_sessions_user ON focus_sessions (user_id);
        """
    )


def downgrade() -> None:
    """Never: what was worked would be lost."""
    raise NotImplementedError("Going back would lose what was worked: restore a backup instead.")
