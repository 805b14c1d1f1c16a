"""The verbs of `make` that act on a stack, one module each."""
