"""One machine: starts, watches and stops everything as plain processes."""
