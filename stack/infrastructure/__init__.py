"""The real parts of one machine: what each is started with, and how it says that it is there."""
