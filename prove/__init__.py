"""The proofs: load, faults, and a checker that reads what is left; one line per promise."""
