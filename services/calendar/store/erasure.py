"""What is erased with a user whose account was deleted."""

from mesh.database.erasure import erase_of

erase = erase_of("event_reminders", "occurrences", "events", "feeds", "subscriptions")
"""Erases a bounded number of rows."""
