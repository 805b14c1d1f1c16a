"""What a focus session is: pure decisions, in which time is an argument."""
