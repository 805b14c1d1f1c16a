"""When the deletion of an account was published."""

from alembic import op

revision = "0002"
down_revision = "0001"

DELETION = """
ALTER TABLE users ADD COLUMN deletion_published_at timestamptz;
-- For the task that publishes deletions.
CREATE INDEX users_deletion_unpublished ON users (deleted_at)
    WHERE deleted_at IS NOT NULL AND deletion_published_at IS NULL;
"""


def upgrade() -> None:
    """Adds the column."""
    op.execute(DELETION)


def downgrade() -> None:
    """Never: which deletions other services know of would be lost."""
    raise NotImplementedError("Going back would publish deletions twice: restore a backup instead.")
