"""The services of Focusmesh; they never import one another."""
