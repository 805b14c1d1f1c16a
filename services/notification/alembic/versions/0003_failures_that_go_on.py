"""Tells failures of a webhook that go on from single ones."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds when a webhook failed last; unknown of those that fail now, whose days begin anew."""
    op.execute("ALTER TABLE webhooks ADD COLUMN last_failed_at timestamptz")


def downgrade() -> None:
    """Never, like every revision."""
    raise NotImplementedError("Restore a backup instead.")
