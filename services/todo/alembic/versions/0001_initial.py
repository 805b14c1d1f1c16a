"""Tasks, and what mesh keeps beside them."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(messaging_tables())
    op.execute(
        """
        CREATE TABLE tasks (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            user_id uuid NOT NULL,
            title varchar(255) NOT NULL,
            description text,
            status varchar(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'in_progress', 'complete')),
            due_date timestamptz,
            reminder_time timestamptz,
            is_recurring boolean NOT NULL DEFAULT false,
            recurrence_schedule varchar(20) CHECK (recurrence_schedule IN ('daily', 'weekly', 'monthly')),
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            completed_at timestamptz,
            deleted_at timestamptz,
            purge_at timestamptz,
            version bigint NOT NULL DEFAULT 1,
            CONSTRAINT tasks_recurrence CHECK (is_recurring = (recurrence_schedule IS NOT NULL)),
            CONSTRAINT tasks_completed CHECK ((status = 'complete') = (completed_at IS NOT NULL)),
            CONSTRAINT tasks_deleted CHECK ((deleted_at IS NULL) = (purge_at IS NULL))
        );
        -- The specification's indexes.
        CREATE INDEX idx_tasks_status ON tasks (status);
        CREATE INDEX idx_tasks_due_date ON tasks (due_date);
        CREATE INDEX idx_tasks_is_recurring ON tasks (is_recurring);
        -- One for each order of a user's list.
        CREATE INDEX idx_tasks_user_created ON tasks (user_id, created_at DESC, id DESC);
        CREATE INDEX idx_tasks_user_updated ON tasks (user_id, updated_at DESC, id DESC);
        CREATE INDEX idx_tasks_user_due ON tasks (user_id, (coalesce(due_date, 'infinity')), id);
        CREATE INDEX idx_tasks_purge ON tasks (purge_at) WHERE purge_at IS NOT NULL;
        """
    )


def downgrade() -> None:
    raise NotImplementedError("Going back would lose tasks: restore a backup instead.")
