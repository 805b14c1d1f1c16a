"""What the calendar service publishes: to `calendar-events` every change, to `reminders` reminders that are due."""

TOPICS = ("calendar-events", "reminders")
