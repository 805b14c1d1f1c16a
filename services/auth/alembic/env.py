"""Alembic enters here; `mesh/migrate.py` does the work."""

from mesh import migrate

migrate.run()
