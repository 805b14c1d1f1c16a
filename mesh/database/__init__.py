"""Postgres: the pool, columns, migrations."""
