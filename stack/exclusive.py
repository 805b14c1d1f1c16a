"""One verb at a time: a stack is not started by one command while another stops it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from stack.errors import StackError
from stack.layout import State, private_file


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Holds the lock of a state folder; a missing folder needs none. Raises StackError when another holds it."""
    if not state.folder.exists():
        yield
        return
    with private_file(state.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another command starts or stops the stack in {state.folder}", advice="wait for it, then again"
            ) from None
        yield
