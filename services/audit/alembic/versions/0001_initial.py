"""Audit records, chained per user and append-only by grant and by trigger."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE audit_records (
    id             uuid PRIMARY KEY DEFAULT uuidv7(),
    event_id       uuid NOT NULL,
    event_type     varchar(50) NOT NULL,
    task_id        uuid NOT NULL,
    payload        jsonb NOT NULL,
    source_service varchar(100) NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    user_id        uuid NOT NULL,
    chain_position integer NOT NULL CHECK (chain_position > 0),
    previous_hash  bytea NOT NULL CHECK (octet_length(previous_hash) = CASE chain_position WHEN 1 THEN 0 ELSE 32 END),
    hash           bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_chain UNIQUE (user_id, chain_position)
);
CREATE INDEX idx_audit_task_id ON audit_records (task_id);
CREATE INDEX idx_audit_event_type ON audit_records (event_type);
CREATE INDEX idx_audit_recorded_at ON audit_records (recorded_at);
CREATE UNIQUE INDEX idx_audit_event_id ON audit_records (event_id);

-- Where each user's chain ends. Its row is locked while records are appended, so a chain never forks.
CREATE TABLE chain_heads (
    user_id  uuid PRIMARY KEY,
    position integer NOT NULL,
    hash     bytea NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
"""

APPEND_ONLY = """
REVOKE ALL ON audit_records FROM audit;
GRANT SELECT, INSERT ON audit_records TO audit;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_records is append-only: refused %', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Also for sessions that replay a replication stream.
ALTER TABLE audit_records ENABLE ALWAYS TRIGGER append_only;
"""


def upgrade() -> None:
    op.execute(messaging_tables())
    op.execute(TABLES)
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    raise NotImplementedError("Going back would lose the log: restore a backup instead.")
