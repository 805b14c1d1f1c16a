"""Accounts claim the sessions of guests, once."""

from alembic import op

revision = "0003"
down_revision = "0002"

CLAIMS = """
CREATE TABLE guest_claims (
    guest_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    -- The response to the claim, for whoever claims again.
    response bytea NOT NULL,
    claimed_at timestamptz NOT NULL,
    -- When auth has ended the guest.
    ended_at timestamptz
);
CREATE INDEX idx_guest_claims_user ON guest_claims (user_id);
CREATE INDEX idx_guest_claims_claimed ON guest_claims (claimed_at);
CREATE INDEX idx_guest_claims_unended ON guest_claims (claimed_at) WHERE ended_at IS NULL;
ALTER TABLE transitions DROP CONSTRAINT transitions_cause_check;
ALTER TABLE transitions ADD CONSTRAINT transitions_cause_check
    CHECK (cause IN ('sleep', 'idle', 'break', 'internal', 'external', 'overlap'));
"""


def upgrade() -> None:
    """Adds the table, and the cause of a gap where two sessions of one person overlap."""
    op.execute(CLAIMS)


def downgrade() -> None:
    """Never: a guest could be claimed again."""
    raise NotImplementedError("Going back would let guests be claimed twice: restore a backup instead.")
