"""The mail catcher of a stack, as those who send see it."""

import smtplib
import ssl
from collections.abc import Iterator

import pytest

from stack import mail_catcher
from stack.infrastructure import mail
from stack.layout import LOOPBACK
from stack.stack import Stack
from tests.support.stacks import started

MESSAGE = "Subject: Water the plants\r\nMessage-ID: <one@focusmesh.example>\r\n\r\nNow.\r\n"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The catcher alone."""
    with started("mail", components=(mail.NAME,)) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[smtplib.SMTP]:
    """A connection in plain text, as every one begins."""
    with smtplib.SMTP(LOOPBACK, stack.ports.mail, timeout=10) as client:
        yield client


def encrypted(client: smtplib.SMTP, stack: Stack) -> smtplib.SMTP:
    """The connection, encrypted; the certificate is verified for its address."""
    client.starttls(context=ssl.create_default_context(cafile=stack.keys.mail_certificate()[0]))
    return client


def test_what_is_sent_is_kept_also_over_a_restart(stack: Stack, client: smtplib.SMTP) -> None:
    encrypted(client, stack).sendmail("reminders@focusmesh.example", ["ada@example.org"], MESSAGE)
    stack.restart(mail.NAME)
    (kept,) = map(mail.read, mail.caught(stack.state))
    assert (kept["X-MailFrom"], kept["X-RcptTo"]) == ("reminders@focusmesh.example", "ada@example.org")
    assert (kept["Subject"], kept["Message-ID"]) == ("Water the plants", "<one@focusmesh.example>")
    assert kept.get_content().strip() == "Now."


def test_nothing_is_taken_in_plain_text(client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        client.sendmail("reminders@focusmesh.example", ["ada@example.org"], MESSAGE)


def test_a_message_that_is_too_large_is_refused(stack: Stack, client: smtplib.SMTP) -> None:
    before = mail.caught(stack.state)
    with pytest.raises(smtplib.SMTPSenderRefused) as error:
        encrypted(client, stack).sendmail(
            "a@example.org", ["b@example.org"], "x" * mail_catcher.LARGEST_BYTES + MESSAGE
        )
    assert error.value.smtp_code == 552
    assert mail.caught(stack.state) == before
