"""What a call passes on its way to a handler."""
