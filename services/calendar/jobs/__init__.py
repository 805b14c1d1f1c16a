"""The periodic tasks of the calendar service."""
