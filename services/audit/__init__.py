"""audit: the append-only log of changes of a user's tasks."""
