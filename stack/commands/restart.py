"""`make restart S=todo`: one replica after the other, each healthy before the next one goes.

What changed in the repository comes along: new revisions of the schema before, new routes of the gateway after.
"""

import sys
import time

from stack import database
from stack.commands.status import running_stack
from stack.errors import StackError, run_command
from stack.infrastructure import gateway
from stack.stack import Stack


def main() -> None:
    """Restarts a service or a component."""
    stack = running_stack()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    known = sorted({replica.service.name for replica in stack.replicas} | set(stack.programs))
    if name not in known:
        raise StackError(f"{name or 'nothing'} is not in the stack: {', '.join(known)}", advice="`make restart S=todo`")
    of_service = [replica.name for replica in stack.replicas if replica.service.name == name]
    if of_service:
        database.provision(stack.cluster, [stack.registry.service(name)])
    for program in of_service or [name]:
        restart(stack, program)
    if of_service and stack.prepare_gateway():
        restart(stack, gateway.NAME)


def restart(stack: Stack, program: str) -> None:
    """Restarts one program and says when it is back."""
    began = time.monotonic()
    stack.restart(program)
    print(f"{program} is healthy again after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    run_command(main)
