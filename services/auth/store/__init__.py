"""SQL of auth: one statement per function. `get_…` raises when it finds nothing, `find_…` returns None."""

ACTIVE = "users.is_active AND users.deleted_at IS NULL"
"""Of an account that can be used."""
