"""What the notification service publishes, to `notification-events`: what happens in the inboxes of users."""

TOPICS = ("notification-events",)
