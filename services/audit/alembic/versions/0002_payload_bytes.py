"""A list knows how large payloads are without reading them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the size of payloads; rewrites the table."""
    op.execute(
        """
        ALTER TABLE audit_records
            ADD COLUMN payload_bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(payload::text)) STORED
        """
    )


def downgrade() -> None:
    """Never: restore a backup instead."""
    raise NotImplementedError("Going back would lose the log: restore a backup instead.")
