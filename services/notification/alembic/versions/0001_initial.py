"""Reminders, notifications with their attempts, who is notified through what, and what mesh keeps beside them."""

from alembic import op

from mesh.database.migrate import messaging_tables

revision = "0001"
down_revision = None

REMINDERS = """
CREATE TABLE reminders (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    event_id uuid,
    task_id uuid,
    type text NOT NULL CHECK (type IN ('in_app', 'email', 'webpush', 'sms', 'webhook')),
    scheduled_for timestamptz NOT NULL,
    payload jsonb,
    sent_at timestamptz,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed', 'cancelled')),
    error_message text,
    -- When deliveries are made of it; null once they are, and when it is cancelled.
    fire_at timestamptz,
    -- Until when it may be sent late; null: as long as the service's grace says.
    expires_at timestamptz,
    snooze_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 80);
-- The specification's index; with the id, so that pages have an order.
CREATE INDEX idx_reminders_user_scheduled ON reminders (user_id, scheduled_for, id);
CREATE INDEX reminders_fire ON reminders (fire_at) WHERE fire_at IS NOT NULL;
CREATE INDEX reminders_task ON reminders (task_id) WHERE task_id IS NOT NULL AND status = 'pending';
CREATE INDEX reminders_pending ON reminders (user_id) WHERE status = 'pending';
CREATE INDEX reminders_purge ON reminders (updated_at) WHERE status <> 'pending';

-- One row for each delivery: a reminder or an event, the instant that it is for, a channel and a target of it.
CREATE TABLE notifications (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    task_id uuid,
    reminder_id uuid,
    -- The reminder, or the event that caused it.
    source_id uuid NOT NULL,
    notification_type text NOT NULL CHECK (notification_type IN ('reminder', 'update', 'account')),
    channel text NOT NULL DEFAULT 'in_app' CHECK (channel IN ('in_app', 'email', 'webpush', 'sms', 'webhook')),
    -- The webhook or the push subscription.
    target_id uuid,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    outcome text CHECK (outcome IN ('on_time', 'late', 'failed', 'missed', 'suppressed')),
    payload jsonb NOT NULL,
    -- The causing CloudEvent, for webhooks.
    cause bytea CHECK (octet_length(cause) <= 524288),
    scheduled_for timestamptz NOT NULL,
    deferred_until timestamptz,
    expires_at timestamptz,
    -- When it is sent, tried again, or taken from a process that has not reported back; null: it is over.
    next_attempt_at timestamptz,
    leased boolean NOT NULL DEFAULT false,
    message_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    error_message text,
    read_at timestamptz,
    CONSTRAINT notifications_once UNIQUE NULLS NOT DISTINCT (source_id, scheduled_for, channel, target_id)
) WITH (fillfactor = 70);
-- The specification's indexes.
CREATE INDEX idx_notifications_status ON notifications (status);
CREATE INDEX idx_notifications_task_id ON notifications (task_id);
CREATE INDEX notifications_due ON notifications (channel, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX notifications_user_due ON notifications (user_id, channel) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX notifications_inbox ON notifications (user_id, sent_at DESC, id DESC)
    WHERE channel = 'in_app' AND sent_at IS NOT NULL;
CREATE INDEX notifications_unread ON notifications (user_id)
    WHERE channel = 'in_app' AND sent_at IS NOT NULL AND read_at IS NULL;
CREATE INDEX notifications_user_created ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_reminder ON notifications (reminder_id, created_at DESC, id DESC)
    WHERE reminder_id IS NOT NULL;
CREATE INDEX notifications_purge ON notifications (created_at);

CREATE TABLE delivery_attempts (
    notification_id uuid NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    number integer NOT NULL,
    message_id uuid NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    is_sent boolean NOT NULL DEFAULT false,
    answer varchar(500) NOT NULL DEFAULT '',
    PRIMARY KEY (notification_id, number)
);
"""

PEOPLE = """
-- Who is notified. The row of a deleted user stays, without anything of the user: events that come later are dropped.
-- Whoever sends to a user, or changes the user's inbox, holds the lock of this row.
CREATE TABLE recipients (
    user_id uuid PRIMARY KEY,
    time_zone text,
    -- Of the event that said so: an older one does not count.
    zone_at timestamptz,
    -- What differs from the defaults: {"email": [reminders, updates]}.
    channels jsonb NOT NULL DEFAULT '{}',
    quiet_from integer CHECK (quiet_from BETWEEN 0 AND 1439),
    quiet_to integer CHECK (quiet_to BETWEEN 0 AND 1439),
    phone_number text,
    unread_count integer NOT NULL DEFAULT 0 CHECK (unread_count >= 0),
    -- Counts the events of the inbox.
    inbox_version bigint NOT NULL DEFAULT 0,
    is_deleted boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT recipients_quiet CHECK ((quiet_from IS NULL) = (quiet_to IS NULL) AND quiet_from <> quiet_to)
) WITH (fillfactor = 70);

-- The code that was sent last to a number; only its keyed hash.
CREATE TABLE phone_codes (
    user_id uuid PRIMARY KEY,
    phone_number text NOT NULL,
    code_hash bytea,
    expires_at timestamptz,
    tries integer NOT NULL DEFAULT 0,
    -- Codes that were asked for on this date, UTC.
    asked_on date NOT NULL,
    asked integer NOT NULL
);

CREATE TABLE push_subscriptions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    endpoint text NOT NULL CONSTRAINT push_subscriptions_endpoint UNIQUE,
    p256dh text NOT NULL,
    auth text NOT NULL,
    label varchar(100),
    created_at timestamptz NOT NULL
);
CREATE INDEX push_subscriptions_user ON push_subscriptions (user_id);

-- Secrets are encrypted; the key is a setting of the service.
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    url text NOT NULL,
    description varchar(255),
    is_enabled boolean NOT NULL,
    disabled_reason text,
    failing_since timestamptz,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL
);
CREATE INDEX webhooks_user ON webhooks (user_id);

-- The last state of tasks, checked again before something of them is sent.
CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    is_open boolean NOT NULL,
    is_deleted boolean NOT NULL,
    due_date timestamptz,
    reminder_time timestamptz,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX tasks_user ON tasks (user_id);
CREATE INDEX tasks_purge ON tasks (updated_at) WHERE is_deleted;
"""


def upgrade() -> None:
    """Creates the schema."""
    op.execute(messaging_tables())
    op.execute(REMINDERS)
    op.execute(PEOPLE)


def downgrade() -> None:
    """Never: reminders would be lost."""
    raise NotImplementedError("Going back would lose reminders: restore a backup instead.")
