"""realtime: streams changes of a user's resources to every open connection of that user."""
