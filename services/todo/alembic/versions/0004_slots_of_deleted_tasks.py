"""A deleted instance keeps its slot no longer from another."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """One instance that is not deleted for each slot of a series, and any number of deleted ones."""
    op.execute(
        """
        DROP INDEX idx_tasks_series_slot;
        CREATE UNIQUE INDEX idx_tasks_series_slot ON tasks (series_id, slot, deleted_at) NULLS NOT DISTINCT
            WHERE series_id IS NOT NULL;
        """
    )


def downgrade() -> None:
    """Never: two instances may have one slot."""
    raise NotImplementedError("Instances may share slots with deleted ones: restore a backup instead.")
