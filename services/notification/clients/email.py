"""The channel `email`: SMTP, with text and HTML, and a link in the headers that ends such mails by one click."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from email.errors import MessageError
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import Policy
from email.utils import format_datetime, parseaddr
from typing import NamedTuple

import aiosmtplib
from aiosmtplib import SMTP

from mesh.outgoing.errors import PermanentFailure, TemporaryFailure
from mesh.runtime import clock
from services.notification.clients.rendering import Renderer, line
from services.notification.clients.unsubscribe import Subscription, UnsubscribeLinks
from services.notification.model import Kind, Outgoing

SECONDS = 30.0
"""Handing over one mail as a whole, the connection included."""
COMMAND_SECONDS = 10.0
_IDLE_CONNECTIONS, _IDLE_SECONDS = 10, 20.0
_NAME = 100
"""Characters of a user's name."""
_NO_NAME = str.maketrans(dict.fromkeys('()<>[]:;@\\,"=?', " "))
"""What a name needs quotes for: Python drops them where it folds a header, and what follows becomes an address."""


class _Whole:
    """A header in one line, as it is: Python would encode an address that is too long for a line."""

    max_count = 1
    parse = UnstructuredHeader.parse

    def fold(self, *, policy: Policy) -> str:
        """The line."""
        return f"{self.name}: {self}{policy.linesep}"  # type: ignore[attr-defined]  # of every header


def _headers() -> HeaderRegistry:
    registry = HeaderRegistry()
    registry.map_to_type("list-unsubscribe", _Whole)  # type: ignore[arg-type]  # a part of one, like the library's own
    return registry


_POLICY = SMTP_POLICY.clone(cte_type="7bit", header_factory=_headers())
"""Readable by every server on the way."""


class MailServer(NamedTuple):
    """The SMTP server that takes the mails."""

    host: str
    port: int
    tls: str
    """`starttls`, `implicit` (from the first byte on) or `none`."""
    user: str = ""
    password: str = ""
    ca_file: str = ""
    """Authority of its certificate, PEM; empty: those of the system."""


class EmailSender:
    """Hands mails over to one server; connections are kept for the next mail, a few seconds long."""

    def __init__(
        self, server: MailServer, renderer: Renderer, links: UnsubscribeLinks, *, sender: str, seconds: float = SECONDS
    ) -> None:
        """sender: such as `Focusmesh <reminders@example.org>`. Raises ValueError for what cannot be used."""
        if server.tls not in {"starttls", "implicit", "none"}:
            raise ValueError(f"{server.tls!r} is not one of starttls, implicit, none")
        name, address = parseaddr(sender)
        self._sender = Address(name, addr_spec=address)
        self._server, self._renderer, self._links, self._seconds = server, renderer, links, seconds
        self._tls = None if server.tls == "none" else ssl.create_default_context(cafile=server.ca_file or None)
        self._idle: list[tuple[float, SMTP]] = []
        # A thread, because Python folds long headers of emoji for 100 ms; one, so that it takes at most one core.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mails")

    async def send(self, outgoing: Outgoing) -> str:
        """Hands over one mail; returns the server's answer. Raises an OutgoingFailure."""
        try:
            loop = asyncio.get_running_loop()
            message = await loop.run_in_executor(self._writer, lambda: self.message(outgoing).as_bytes())
        except ValueError as error:
            raise PermanentFailure(f"the address cannot be used: {error}") from None
        try:
            async with asyncio.timeout(self._seconds), self._connection() as smtp:
                await smtp.mail(self._sender.addr_spec)
                await self._recipient(smtp, outgoing.address)
                # Its response may take as long as there is: hanging up before it means not to know whether it was sent.
                response = await smtp.data(message, timeout=None)
                return f"{response.code} {response.message}"
        except TimeoutError:
            raise TemporaryFailure("the mail server did not respond in time") from None
        except aiosmtplib.SMTPDataError as error:
            raise _failure(error) from error
        except aiosmtplib.SMTPResponseException as error:  # of what no address is the cause
            raise TemporaryFailure(f"{error.code} {error.message}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise TemporaryFailure(f"no mail server: {error or type(error).__name__}") from error

    def message(self, outgoing: Outgoing) -> EmailMessage:
        """The mail: the same Message-ID in every attempt. Raises ValueError for an address that cannot be used."""
        message = EmailMessage(_POLICY)
        message["From"] = self._sender
        message["To"] = _recipient(outgoing)
        message["Subject"] = self._renderer.subject(outgoing)
        message["Date"] = format_datetime(clock.to_datetime(outgoing.begun_at))
        message["Message-ID"] = f"<{outgoing.message_id}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        link = ""
        if outgoing.kind is not Kind.ACCOUNT:
            link = self._links.link(Subscription(outgoing.user_id, outgoing.kind))
            message["List-Unsubscribe"] = f"<{link}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(self._renderer.text(outgoing, link))
        message.add_alternative(self._renderer.html(outgoing, link), subtype="html")
        return message

    async def close(self) -> None:
        """Closes its connections."""
        self._writer.shutdown(wait=False, cancel_futures=True)
        while self._idle:
            self._idle.pop()[1].close()

    async def _recipient(self, smtp: SMTP, address: str) -> None:
        try:
            await smtp.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            raise _failure(error) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        """A connection that nobody else uses; kept afterwards unless something went wrong."""
        smtp = await self._reused() or await self._opened()
        try:
            yield smtp
        except BaseException:
            smtp.close()
            raise
        if smtp.is_connected and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append((time.monotonic(), smtp))
        else:
            smtp.close()

    async def _reused(self) -> SMTP | None:
        while self._idle:
            since, smtp = self._idle.pop()
            try:
                if time.monotonic() - since < _IDLE_SECONDS:
                    await smtp.rset()
                    return smtp
            except (aiosmtplib.SMTPException, OSError):
                pass  # the server has hung up meanwhile
            smtp.close()
        return None

    async def _opened(self) -> SMTP:
        server = self._server
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=self._sender.domain,
            timeout=COMMAND_SECONDS,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            tls_context=self._tls,
            username=server.user or None,
            password=server.password or None,
        )
        try:
            await smtp.connect()
        except BaseException:
            smtp.close()
            raise
        return smtp


def _recipient(outgoing: Outgoing) -> Address:
    try:
        outgoing.address.encode("ascii")
        return Address(line(outgoing.name.translate(_NO_NAME))[:_NAME], addr_spec=outgoing.address)
    except (MessageError, IndexError) as error:  # IndexError: of an address that ends too early
        raise ValueError(f"{outgoing.address!r} is not a mail address") from error


def _failure(error: aiosmtplib.SMTPResponseException) -> PermanentFailure | TemporaryFailure:
    """What the refusal of a recipient or of a mail means: 5xx is for good."""
    answer = f"{error.code} {error.message}"
    return PermanentFailure(answer) if 500 <= error.code < 600 else TemporaryFailure(answer)
