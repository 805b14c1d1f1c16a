"""What every service runs on; knows no service."""

import gc
import os

# Set before anything else is imported: importing a service makes 110,000 objects, nearly all of which stay, and looking
# for garbage among them cost a tenth of its CPU. A process that serves sets its own threshold (mesh/app.py).
gc.set_threshold(200_000, 20, 20)
# Before gRPC is imported: where a service starts a process (mesh/runtime/worker.py), gRPC would prepare for a fork, and
# write a line into the log when it cannot.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
