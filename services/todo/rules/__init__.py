"""Decisions of the todo service: pure, time is an argument."""
