"""What tests, proofs, benchmarks and the demo share to use the product from outside; the product never imports it."""
