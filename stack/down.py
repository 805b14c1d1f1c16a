"""`make down`: stops everything in reverse order."""

import shutil
import time

from stack import preflight
from stack.interrupts import raise_on_every_end
from stack.layout import State, main_state
from stack.machine import Machine
from stack.trouble import run_command


def stop(state: State) -> bool:
    """Stops what runs with this state, also what lost its supervisor; returns whether there was a stack."""
    machine = Machine.running(state)
    if machine is not None:
        machine.stop()
    else:
        preflight.end(preflight.leftovers(state))
    return machine is not None


def erase(state: State) -> None:
    """Deletes everything that a stopped stack stored."""
    shutil.rmtree(state.folder, ignore_errors=True)


def main() -> None:
    """Stops the stack; says so too when none runs."""
    raise_on_every_end()
    began = time.monotonic()
    if stop(main_state()):
        print(f"Stopped after {time.monotonic() - began:.1f} s.")
    else:
        print("No stack runs.")


if __name__ == "__main__":
    run_command(main)
