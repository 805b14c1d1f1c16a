"""SQL of the calendar service: one statement per function, owner first."""
