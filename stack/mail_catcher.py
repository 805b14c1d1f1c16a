"""The process of the mail catcher: `python -m stack.mail_catcher HOST PORT FOLDER CERTIFICATE KEY`."""

import asyncio
import itertools
import signal
import ssl
import sys
import time
from collections import deque
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

MOST_MESSAGES = 20_000
MOST_BYTES = 128 << 20
LARGEST_BYTES = 1 << 20
"""Of one message; a larger one is refused with 552."""
_IDLE_SECONDS = 60.0


def messages(folder: Path) -> list[Path]:
    """The messages in a folder, oldest first."""
    return sorted(folder.glob("*.eml"))


class Mailbox:
    """Keeps messages as files, the envelope above the headers; the oldest go when there are too many."""

    def __init__(self, folder: Path, *, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._most_messages, self._most_bytes = folder, most_messages, most_bytes
        self._kept = deque((path, path.stat().st_size) for path in messages(folder))
        self._bytes = sum(size for _, size in self._kept)
        self._numbers = itertools.count()

    def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Stores a message; a reader sees it whole or not at all."""
        envelope = "".join(f"X-RcptTo: {recipient}\r\n" for recipient in recipients)
        path = self._folder / f"{time.time_ns():020d}-{next(self._numbers):06d}.eml"
        unfinished = path.with_suffix(".part")
        size = unfinished.write_bytes(f"X-MailFrom: {sender}\r\n{envelope}".encode() + content)
        unfinished.replace(path)
        self._kept.append((path, size))
        self._bytes += size
        while len(self._kept) > self._most_messages or self._bytes > self._most_bytes:
            oldest, size = self._kept.popleft()
            oldest.unlink(missing_ok=True)
            self._bytes -= size

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        """Called by aiosmtpd with every message."""
        content = envelope.original_content or b""
        self.keep(envelope.mail_from or "", envelope.rcpt_tos, content)
        return "250 OK"


async def serve(host: str, port: int, folder: Path, tls: ssl.SSLContext) -> None:
    """Takes mail until the process is told to stop."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    mailbox = Mailbox(folder)

    def connection() -> SMTP:
        return SMTP(
            mailbox,
            hostname="mail.localhost",
            ident="Focusmesh mail catcher",
            data_size_limit=LARGEST_BYTES,
            enable_SMTPUTF8=True,
            tls_context=tls,
            require_starttls=True,
            timeout=_IDLE_SECONDS,
            loop=loop,
        )

    server = await loop.create_server(connection, host, port)
    await stop.wait()
    server.close()


def main() -> None:
    """Reads the arguments and serves."""
    host, port, folder, certificate, key = sys.argv[1:]
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    asyncio.run(serve(host, int(port), Path(folder), tls))


if __name__ == "__main__":
    main()
