"""On which day the weeks of a user begin."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the setting."""
    op.execute(
        """
        ALTER TABLE user_settings ADD COLUMN week_start text NOT NULL DEFAULT 'monday'
            CHECK (week_start IN ('monday', 'saturday', 'sunday'))
        """
    )


def downgrade() -> None:
    """Never: what users chose would be lost."""
    raise NotImplementedError("Going back would lose settings: restore a backup instead.")
