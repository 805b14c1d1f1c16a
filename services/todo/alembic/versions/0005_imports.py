"""The UIDs by which tasks were imported."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """One task of a user for each UID, also a deleted one until it is purged."""
    op.execute(
        """
        ALTER TABLE tasks ADD COLUMN import_uid text;
        CREATE UNIQUE INDEX idx_tasks_import ON tasks (user_id, import_uid) WHERE import_uid IS NOT NULL;
        """
    )


def downgrade() -> None:
    """Never: a repeated import would double tasks."""
    raise NotImplementedError("Going back would lose what was imported: restore a backup instead.")
