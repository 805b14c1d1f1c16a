"""The mail catcher: an SMTP server that delivers nothing and keeps what was sent, for `make mail` and tests."""

import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from stack import mail_catcher
from stack.keys import Keys
from stack.layout import LOOPBACK, PYTHON_PATH, Ports, State
from stack.supervisor import Program

NAME = "mail"


def program(state: State, ports: Ports, keys: Keys) -> Program:
    """The catcher; clients must use STARTTLS, with the stack's own certificate."""
    certificate, key = keys.mail_certificate()
    return Program(
        name=NAME,
        command=(
            *(sys.executable, "-m", mail_catcher.__name__, LOOPBACK, str(ports.mail)),
            *(str(state.mail), str(certificate), str(key)),
        ),
        environment={"PYTHONPATH": PYTHON_PATH, "PYTHONDONTWRITEBYTECODE": ""},
    )


def responses(port: int, certificate: Path) -> bool:
    """Whether it takes mail: greets, and encrypts with the stack's certificate."""
    try:
        with smtplib.SMTP(LOOPBACK, port, timeout=1) as client:
            client.starttls(context=ssl.create_default_context(cafile=certificate))
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def caught(state: State) -> list[Path]:
    """The files of all messages that it keeps, oldest first."""
    return mail_catcher.messages(state.mail)


def read(message: Path) -> EmailMessage:
    """A caught message; `X-MailFrom` and `X-RcptTo` are its envelope, as the sender's server gave it."""
    return BytesParser(EmailMessage, policy=default).parsebytes(message.read_bytes())
