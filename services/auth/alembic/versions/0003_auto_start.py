"""Which intervals of a focus session start by themselves."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the settings."""
    op.execute(
        """
        ALTER TABLE user_settings
            ADD COLUMN auto_start_breaks boolean NOT NULL DEFAULT true,
            ADD COLUMN auto_start_focus boolean NOT NULL DEFAULT false
        """
    )


def downgrade() -> None:
    """Never: what users chose would be lost."""
    raise NotImplementedError("Going back would lose settings: restore a backup instead.")
