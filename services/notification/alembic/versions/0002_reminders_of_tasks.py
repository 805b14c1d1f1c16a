"""Finds every reminder of a task, also those that come back with it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Replaces the index of pending ones."""
    op.execute(
        """
        DROP INDEX reminders_task;
        CREATE INDEX reminders_task ON reminders (task_id) WHERE task_id IS NOT NULL;
        """
    )


def downgrade() -> None:
    """Never, like every revision."""
    raise NotImplementedError("Restore a backup instead.")
