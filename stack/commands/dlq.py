"""`make dlq`: `mesh.events.dlq` on the broker of the running stack."""

import os
import sys

from mesh.events import dlq
from stack.commands.status import running_stack
from stack.errors import run_command


def main() -> None:
    """Exits with the status of the subcommand."""
    stack = running_stack()
    os.environ |= {"FOCUSMESH_KAFKA_BOOTSTRAP": stack.broker.bootstrap, "FOCUSMESH_KAFKA_OPTIONS": stack.broker.options}
    sys.exit(dlq.main())


if __name__ == "__main__":
    run_command(main)
