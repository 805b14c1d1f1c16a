"""`make down`: stops everything in reverse order."""

import shutil
import time

from stack import preflight
from stack.errors import run_command
from stack.layout import State, main_state
from stack.signals import install_signal_handlers
from stack.stack import Stack


def stop(state: State) -> bool:
    """Stops what runs with this state, supervised or not; returns whether there was a stack."""
    stack = Stack.running(state)
    if stack is not None:
        stack.stop()
    else:
        preflight.end(preflight.leftovers(state))
    return stack is not None


def erase(state: State) -> None:
    """Deletes everything that a stopped stack stored."""
    shutil.rmtree(state.folder, ignore_errors=True)


def main() -> None:
    """Stops the stack; says so too when none runs."""
    install_signal_handlers()
    began = time.monotonic()
    if stop(main_state()):
        print(f"Stopped after {time.monotonic() - began:.1f} s.")
    else:
        print("No stack runs.")


if __name__ == "__main__":
    run_command(main)
