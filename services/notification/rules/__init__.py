"""The decisions of the notification service: pure; time is an argument."""
