"""SQL of the history service: one statement per function, owner first."""
