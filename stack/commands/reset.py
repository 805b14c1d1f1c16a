"""`make reset`: deletes everything the stack stored; asks first unless Y=1."""

import os

from stack.commands import down
from stack.errors import StackError, run_command
from stack.layout import main_state
from stack.terminal import mebibytes


def main() -> None:
    """Stops the stack and removes its folder."""
    folder = main_state().folder
    if not folder.exists():
        print(f"Nothing is stored in {folder}.")
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not os.environ.get("Y"):
        try:
            response = input(f"Delete all tasks, accounts and events in {folder} ({mebibytes(size)})? [y/N] ")
        except EOFError:
            response = ""
        if response.strip().lower() not in {"y", "yes"}:
            raise StackError("nothing was deleted", advice="`make reset Y=1` deletes without asking")
    down.stop(main_state())
    down.erase(main_state())
    print("Deleted. `make up` begins anew.")


if __name__ == "__main__":
    run_command(main)
