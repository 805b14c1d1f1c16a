"""An SMTP server that keeps mails, and refuses and delays as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from stack.layout import LOOPBACK


class Mail(NamedTuple):
    """A mail that was taken, with its envelope."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool


class MailServer:
    """What a server has taken, and how it responds to the next one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.taken: list[Mail] = []
        self.connections = 0
        self.refused: dict[str, str] = {}
        """Responses to recipients."""
        self.data_response = "250 2.0.0 queued as 17"
        self.held = asyncio.Event()
        """While it is clear, the response to a mail is not given."""
        self.held.set()
        self.slow_seconds = 0.0
        """How long the response to a mail takes at least."""
        self.arrived = asyncio.Event()
        """Set when a mail has arrived whole."""
        self.password = ""
        """Of clients that authenticate themselves."""

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Takes or refuses a recipient."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        """Takes a mail."""
        self.arrived.set()
        await asyncio.sleep(self.slow_seconds)
        await self.held.wait()
        if self.data_response.startswith("250"):
            message = message_from_bytes(envelope.original_content or b"", policy=default)
            assert isinstance(message, EmailMessage)
            assert server.transport is not None
            encrypted = server.transport.get_extra_info("ssl_object") is not None
            self.taken.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), message, encrypted))
        return self.data_response

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, login: object
    ) -> AuthResult:
        """Checks a password."""
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login.password.decode() == self.password, handled=False)


@asynccontextmanager
async def taking_mail(
    port: int = 0, *, tls: ssl.SSLContext | None = None, implicit: bool = False, password: str = ""
) -> AsyncIterator[MailServer]:
    """A server that listens. port: 0 for any that is free. tls: by STARTTLS, and required; at once when implicit."""
    server = MailServer(port)
    server.password = password
    loop, protocols = asyncio.get_running_loop(), []

    def connection() -> SMTP:
        server.connections += 1
        protocols.append(
            SMTP(
                server,
                hostname="mail.example",
                tls_context=None if implicit else tls,
                require_starttls=tls is not None and not implicit,
                authenticator=server.authenticate,
                auth_require_tls=False,
                loop=loop,
            )
        )
        return protocols[-1]

    listener = await loop.create_server(connection, LOOPBACK, port, ssl=tls if implicit else None)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for protocol in protocols:
            if protocol.transport is not None:
                protocol.transport.close()
