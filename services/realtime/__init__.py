"""realtime: what happens to a user's things, on every open connection as it happens."""
