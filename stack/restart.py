"""`make restart S=todo`: one replica after the other, each healthy before the next one goes."""

import sys
import time

from stack.status import running_machine
from stack.trouble import Trouble, run_command


def main() -> None:
    """Restarts a service or a part."""
    machine = running_machine()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    known = sorted({replica.service.name for replica in machine.replicas} | set(machine.programs))
    if name not in known:
        raise Trouble(
            f"{name or 'nothing'} is not a part of the stack: {', '.join(known)}", advice="`make restart S=todo`"
        )
    of_service = [replica.name for replica in machine.replicas if replica.service.name == name]
    for program in of_service or [name]:
        began = time.monotonic()
        machine.restart(program)
        print(f"{program} is healthy again after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    run_command(main)
