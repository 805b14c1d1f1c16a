"""Alembic enters here; `mesh/database/migrate.py` does the work."""

from mesh.database import migrate

migrate.run()
