"""The proof that no neighbour is disturbed: one user sends the worst that the rules allow, another one measures."""
