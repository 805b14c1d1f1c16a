"""Decisions of the recurrence service: pure, time is an argument."""
