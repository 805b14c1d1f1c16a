"""Alembic's entry point; the shared environment does the work."""

from mesh.database.migrate import run

run()
