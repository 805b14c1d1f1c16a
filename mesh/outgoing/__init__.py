"""Calls to addresses that others give, such as webhooks and calendars: which may be called, and how far."""
