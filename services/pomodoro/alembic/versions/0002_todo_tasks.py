"""A task of a session may stand for a task of todo."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column."""
    op.execute("ALTER TABLE tasks ADD COLUMN todo_task_id uuid")


def downgrade() -> None:
    """Never: the links would be lost."""
    raise NotImplementedError("Going back would lose links: restore a backup instead.")
