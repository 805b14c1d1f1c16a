"""Which addresses are verified, and the mails that verify them and reset passwords."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
ALTER TABLE users
    ADD COLUMN email_verified boolean NOT NULL DEFAULT false,
    -- Raised by every new password: a login that checked the former one begins no session.
    ADD COLUMN password_version integer NOT NULL DEFAULT 1 CHECK (password_version > 0);

-- Mails with a token that were announced to other services. Of the token, made when the mail is sent, only the keyed
-- hash is here.
CREATE TABLE mails (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('verify_email', 'reset_password')),
    requested_at timestamptz NOT NULL,
    token_hash   text CONSTRAINT mails_token UNIQUE,
    expires_at   timestamptz,
    closed_at    timestamptz,
    CHECK ((token_hash IS NULL) = (expires_at IS NULL))
);
CREATE INDEX mails_user ON mails (user_id);
CREATE INDEX mails_requested ON mails (requested_at);

-- What was asked for without a session and is answered a moment later, so that no response and no time of a response
-- depends on whether the address has an account. Rows live for milliseconds.
CREATE TABLE mail_requests (
    id           uuid PRIMARY KEY,
    email        text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('verify_email', 'reset_password')),
    requested_at timestamptz NOT NULL,
    traceparent  text NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX mail_requests_oldest ON mail_requests (requested_at);

CREATE TABLE registrations (
    id                uuid PRIMARY KEY,
    email             text NOT NULL,
    name              text,
    time_zone         text NOT NULL,
    day_start_minutes integer NOT NULL,
    version           bigint NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    email_verified    boolean NOT NULL,
    password_hash     text NOT NULL,
    traceparent       text NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX registrations_oldest ON registrations (created_at);
"""


def upgrade() -> None:
    """Adds the columns and tables. Addresses that are there count as not verified."""
    op.execute(TABLES)


def downgrade() -> None:
    """Never: which addresses were verified would be lost."""
    raise NotImplementedError("Going back would lose verifications: restore a backup instead.")
