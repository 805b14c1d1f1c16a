"""Repeating time: rules, their slots, and what edits and completions make of them. Pure; time is an argument."""
