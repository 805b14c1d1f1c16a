"""What of calendars is decided: pure functions; time is an argument."""
