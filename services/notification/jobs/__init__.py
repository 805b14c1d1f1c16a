"""The periodic tasks of the notification service: what makes reminders due, sends them, and removes old ones."""
