"""One stack: starts, watches and stops everything as plain processes."""
