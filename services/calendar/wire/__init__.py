"""Events, occurrences and what else the calendar keeps, to and from their messages; nothing else converts."""
