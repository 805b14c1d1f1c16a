"""Events and occurrences to and from their messages; nothing else converts."""
