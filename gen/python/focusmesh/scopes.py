"""Generated from the policies in protos/ by `make proto`; never edited."""

USER_SCOPES: tuple[str, ...] = (
    "audit:read",
    "calendar:read",
    "calendar:write",
    "focus:read",
    "focus:write",
    "history:read",
    "history:write",
    "notifications:read",
    "notifications:write",
    "profile:read",
    "profile:write",
    "realtime:read",
    "reminders:read",
    "reminders:write",
    "schedules:read",
    "schedules:write",
    "tasks:read",
    "tasks:write",
    "webhooks:read",
    "webhooks:write",
)
"""What a signed-in user may do with their own resources."""
GUEST_SCOPES: tuple[str, ...] = (
    "focus:read",
    "focus:write",
)
"""What a guest may do with their own resources."""
