"""Schedules of recurring tasks, and reminders of tasks."""
