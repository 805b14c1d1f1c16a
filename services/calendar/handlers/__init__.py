"""The RPCs of the calendar service, one class for each service of its contract."""
