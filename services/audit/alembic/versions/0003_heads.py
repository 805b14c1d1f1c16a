"""The service moves the ends of chains, and removes none."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Takes away what the role of the service never needs."""
    op.execute("REVOKE ALL ON chain_heads FROM audit")
    op.execute("GRANT SELECT, INSERT, UPDATE (position, hash) ON chain_heads TO audit")


def downgrade() -> None:
    """Gives it back."""
    op.execute("GRANT ALL ON chain_heads TO audit")
