"""Counts what a user has sent again in a day."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the counter of a day, UTC, to users."""
    op.execute("ALTER TABLE recipients ADD COLUMN repeated_on date, ADD COLUMN repeats integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Never, like every revision."""
    raise NotImplementedError("Restore a backup instead.")
