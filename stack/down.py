"""`make down`: stops everything in reverse order."""

import time

from stack import preflight
from stack.layout import main_state
from stack.machine import Machine
from stack.trouble import run_command


def main() -> None:
    """Stops the stack; says so too when none runs."""
    state = main_state()
    machine = Machine.running(state)
    if machine is None:
        for process in preflight.leftovers(state):
            process.kill()
        print("No stack runs.")
        return
    began = time.monotonic()
    machine.stop()
    print(f"Stopped after {time.monotonic() - began:.1f} s.")


if __name__ == "__main__":
    run_command(main)
