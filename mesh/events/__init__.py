"""From a committed write to its effect in another service."""
