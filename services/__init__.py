"""The services of Focusmesh; they never import one another."""

import mesh  # noqa: F401 (sets the garbage collector's threshold before a service imports anything)
