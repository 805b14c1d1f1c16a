"""Erases what is stored of a user; the row of the recipient stays and says so."""

from mesh.database.erasure import erase_of

erase = erase_of(
    "notifications", "reminders", "push_subscriptions", "webhooks", "phone_codes", "tasks", "occurrences", "events"
)
