"""The contract as data: the one reader of its descriptors and options for the gateway, the tools and the tests."""
