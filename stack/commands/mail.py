"""`make mail`: lists what the mail catcher took, newest first; M=1 shows the newest, TO=ada@example.org only hers."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from itertools import islice
from pathlib import Path

from stack.errors import StackError, run_command
from stack.infrastructure.mail import caught, read
from stack.layout import State, main_state
from stack.terminal import GREY, colour, table

_LISTED = 40
_SHOWN = ("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post")


def chosen(state: State, recipient: str) -> Iterator[Path]:
    """The caught messages of a recipient, or all; newest first."""
    parser = BytesHeaderParser(policy=default)
    for path in reversed(caught(state)):
        if not recipient or recipient in parser.parsebytes(path.read_bytes()).get_all("X-RcptTo", ()):
            yield path


def line(number: int, path: Path) -> tuple[str, ...]:
    """A message in the list."""
    message = read(path)
    time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return str(number), f"{time:%m-%d %H:%M:%S}Z", message["X-RcptTo"] or "", str(message["Subject"] or "")


def whole(message: EmailMessage) -> str:
    """The headers that matter to a reader, and the text and the HTML as they were sent."""
    headers = [f"{colour(f'{name}:', GREY)} {message[name]}" for name in _SHOWN if message[name]]
    parts = [
        f"{colour(f'--- {part.get_content_type()}', GREY)}\n{part.get_content().rstrip()}"
        for part in message.walk()
        if part.get_content_maintype() == "text"
    ]
    return "\n".join(headers) + "\n\n" + "\n\n".join(parts)


def main() -> None:
    """Prints the list, or one message."""
    number, recipient = os.environ.get("M", ""), os.environ.get("TO", "")
    if number and not (number.isdecimal() and int(number)):
        raise StackError(f"M={number} is not the number of a message", advice="`make mail`, then `make mail M=1`")
    found = list(islice(chosen(main_state(), recipient), int(number or _LISTED)))
    to = f" to {recipient}" if recipient else ""
    if number and len(found) < int(number):
        raise StackError(f"there are only {len(found)} messages{to}", advice="`make mail` lists them")
    if not found:
        print(f"No mail{to} was sent yet.")
    elif number:
        print(f"{whole(read(found[-1]))}\n\n{colour(str(found[-1]), GREY)}")
    else:
        print(table(("M", "time", "to", "subject"), [line(n, path) for n, path in enumerate(found, start=1)]))


if __name__ == "__main__":
    run_command(main)
