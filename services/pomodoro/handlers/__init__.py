"""The RPCs of FocusSessionService."""
