"""The RPCs of the notification service, a file for each resource."""
