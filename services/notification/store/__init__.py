"""SQL of the notification service, a file for each resource: one statement per function, owner first."""
