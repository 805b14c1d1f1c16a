"""SQL of the recurrence service: one statement per function, owner first."""
