"""An occurrence of a calendar has one session."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the index that holds it."""
    op.execute(
        """
        CREATE UNIQUE INDEX sessions_slot ON sessions (user_id, original_event_id, slot)
        WHERE original_event_id IS NOT NULL AND deleted_at IS NULL AND outcome IS DISTINCT FROM 'abandoned'"""
    )


def downgrade() -> None:
    """Never: two starts of an occurrence could give two sessions."""
    raise NotImplementedError("Going back would let an occurrence have two sessions: restore a backup instead.")
