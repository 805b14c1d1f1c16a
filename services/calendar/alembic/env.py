"""Alembic's entry point; `mesh/database/migrate.py` does the work."""

from mesh.database.migrate import run

run()
