"""Users, their sessions and settings."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE users (
    id                uuid PRIMARY KEY DEFAULT uuidv7(),
    email             text NOT NULL CONSTRAINT users_email_as_given UNIQUE,
    name              text,
    password_hash     text NOT NULL,
    is_active         boolean NOT NULL DEFAULT true,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    deleted_at        timestamptz,
    time_zone         text NOT NULL DEFAULT 'UTC',
    day_start_minutes integer NOT NULL DEFAULT 0 CHECK (day_start_minutes BETWEEN 0 AND 1439),
    version           bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);
-- An address belongs to one account, whatever its case; a deleted account keeps it until it is purged.
CREATE UNIQUE INDEX users_email ON users (lower(email));
-- For the periodic task that publishes accounts which were closed recently to every service.
CREATE INDEX users_closed ON users (updated_at) WHERE NOT is_active OR deleted_at IS NOT NULL;

-- One row is one session: a chain of refresh tokens, of which only the newest one's keyed hash is kept. Older ones are
-- recognised by their position in the chain, which they contain, signed.
CREATE TABLE refresh_tokens (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   text NOT NULL,
    issued_at    timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    generation   integer NOT NULL DEFAULT 1 CHECK (generation > 0)
) WITH (fillfactor = 80);
CREATE INDEX idx_refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expired ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_revoked ON refresh_tokens (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE user_settings (
    user_id                     uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    default_pomodoro_minutes    integer NOT NULL DEFAULT 25 CHECK (default_pomodoro_minutes BETWEEN 1 AND 180),
    default_short_break_minutes integer NOT NULL DEFAULT 5 CHECK (default_short_break_minutes BETWEEN 1 AND 60),
    default_long_break_minutes  integer NOT NULL DEFAULT 15 CHECK (default_long_break_minutes BETWEEN 1 AND 120),
    long_break_interval         integer NOT NULL DEFAULT 4 CHECK (long_break_interval BETWEEN 1 AND 12),
    theme                       text NOT NULL DEFAULT 'light' CHECK (theme IN ('light', 'dark', 'system')),
    created_at                  timestamptz NOT NULL DEFAULT now(),
    updated_at                  timestamptz NOT NULL DEFAULT now(),
    version                     bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);
"""


def upgrade() -> None:
    op.execute(messaging_tables())
    op.execute(TABLES)


def downgrade() -> None:
    raise NotImplementedError("Going back would lose accounts: restore a backup instead.")
