"""Pure decisions of auth; keys and time are arguments."""
