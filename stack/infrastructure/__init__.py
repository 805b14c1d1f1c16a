"""Infrastructure of one stack: how each component starts, and how it is probed."""
