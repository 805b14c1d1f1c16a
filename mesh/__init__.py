"""What every service runs on; knows no service."""

import gc

# Set before anything else is imported: the default of 700 spends a tenth of a start on collections that free nothing,
# and more than that of every call.
gc.set_threshold(20_000, 20, 20)
