"""Alembic's entry point; the shared environment does the work."""

from mesh.migrate import run

run()
