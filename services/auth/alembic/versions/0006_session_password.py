"""Which password a session was begun with."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the column. No password could be changed before, so every session has the first."""
    op.execute("ALTER TABLE refresh_tokens ADD COLUMN password_version integer NOT NULL DEFAULT 1")


def downgrade() -> None:
    """Never: sessions that a new password ended would go on."""
    raise NotImplementedError("Going back would let ended sessions go on: restore a backup instead.")
