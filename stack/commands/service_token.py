"""`make service-token CALLER=pomodoro CALLEE=auth`: prints a token for calls to internal RPCs of the running stack."""

import sys
import time

from mesh.rpc.service_identity import ServiceSigner
from mesh.runtime.signing_keys import private_key
from stack.commands.status import running_stack
from stack.errors import StackError, run_command
from stack.infrastructure.services import callers_of


def main() -> None:
    """Signs as the caller, with the key that the stack made for it."""
    if len(sys.argv) != 3:
        raise StackError("name both services", advice="`make service-token CALLER=pomodoro CALLEE=auth`")
    caller, callee = sys.argv[1:]
    machine = running_stack()
    if caller not in callers_of(callee):
        raise StackError(f"no RPC of {callee} names {caller} as its caller", advice="look at `callers` in its contract")
    key = private_key(machine.keys.service_key(caller).read_bytes())
    print(ServiceSigner(caller, key).token(callee, now=time.time()))


if __name__ == "__main__":
    run_command(main)
