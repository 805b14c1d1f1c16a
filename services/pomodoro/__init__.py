"""Focus sessions of users: timers that the server owns."""
