"""Redis: the streams of users, and what this replica reads of them."""
