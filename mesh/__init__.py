"""What every service runs on; knows no service."""

import gc

# Set before anything else is imported: importing a service makes 110,000 objects, nearly all of which stay, and looking
# for garbage among them cost a tenth of its CPU. A process that serves sets its own threshold (mesh/app.py).
gc.set_threshold(200_000, 20, 20)
