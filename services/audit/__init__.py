"""audit: the append-only log of what happened to a user's things."""
