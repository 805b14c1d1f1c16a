"""Decisions of the history service: pure, time is an argument."""
