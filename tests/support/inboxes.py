"""Inboxes of people, as the mail catcher of a stack keeps them."""

import re
from email.message import EmailMessage
from pathlib import Path

from harness.waiting import wait_until
from stack.infrastructure import mail
from stack.stack import Stack

SECONDS = 20.0
_TOKEN = re.compile(r"fmm_[A-Za-z0-9_-]{43}")


class Inbox:
    """What the mail catcher took for one address, the first mail first."""

    def __init__(self, stack: Stack, email: str) -> None:
        self._state, self._email = stack.state, email

    def files(self) -> list[Path]:
        """The file of each mail."""
        return [path for path in mail.caught(self._state) if self._email in mail.read(path).get_all("X-RcptTo", ())]

    def messages(self) -> list[str]:
        """Subject and text of each mail."""
        return [f"{message['Subject']}\n{text_of(message)}" for message in map(mail.read, self.files())]

    def wait_for(self, number: int) -> Path:
        """The file of the mail with this number, from 1; waits until it is there."""
        wait_until(lambda: len(self.files()) >= number, f"mail {number} arrives", seconds=SECONDS)
        return self.files()[number - 1]

    def token(self, number: int) -> str:
        """The token in the mail with this number, from 1; waits until it is there."""
        [token] = set(_TOKEN.findall(text_of(mail.read(self.wait_for(number)))))
        return str(token)


def text_of(message: EmailMessage) -> str:
    """The plain text of a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")
