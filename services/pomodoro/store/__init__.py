"""SQL of the pomodoro service: one statement per function, owner first."""
