"""The series that the task of a plan had when it was decided."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column; todo does not check plans of before."""
    op.execute("ALTER TABLE plans ADD COLUMN source_id uuid")


def downgrade() -> None:
    """Drops it: plans that wait are carried out unchecked."""
    op.execute("ALTER TABLE plans DROP COLUMN source_id")
