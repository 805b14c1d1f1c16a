"""Mails on their way to servers that take, refuse, delay and lose them."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness import smtp_server
from harness.smtp_server import taking_mail
from harness.waiting import until
from mesh.outgoing.errors import PermanentFailure, TemporaryFailure
from services.notification.clients.email import EmailSender, MailServer
from services.notification.clients.rendering import Renderer
from services.notification.clients.unsubscribe import UnsubscribeLinks
from tests.support.certificates import Authority
from tests.support.fault_proxy import FaultProxy
from tests.support.neighbours import disturbance
from tests.support.outgoing import AT, item, message
from tests.support.ports import LOOPBACK, free_ports

LINKS = UnsubscribeLinks("a secret of thirty-two characters", "https://api.example.org")
FROM = "Focusmesh <notifications@focusmesh.example>"
NewSender = Callable[..., EmailSender]


@pytest.fixture
async def server() -> AsyncIterator[smtp_server.MailServer]:
    """Takes mail in plain text."""
    async with taking_mail() as server:
        yield server


@pytest.fixture
async def new_sender() -> AsyncIterator[NewSender]:
    """Makes senders to a port of loopback."""
    made: list[EmailSender] = []

    def make(port: int, tls: str = "none", seconds: float = 5, **server: str) -> EmailSender:
        mail_server = MailServer(LOOPBACK, port, tls, **server)
        made.append(EmailSender(mail_server, Renderer(), LINKS, sender=FROM, seconds=seconds))
        return made[-1]

    yield make
    for sender in made:
        await sender.close()


@pytest.mark.parametrize("character", ["😀", "ä", '"', "\x01"])
@pytest.mark.parametrize("items", [1, 50])
async def test_the_largest_mails_keep_the_event_loop_for_less_than_50_ms(
    server: smtp_server.MailServer, new_sender: NewSender, character: str, items: int
) -> None:
    told = item(title=character * 255, note=character * 1000, due_date=AT, is_late=True)
    largest = message(*[told] * items, count=items * 100, name=character * 100)
    sender = new_sender(server.port, seconds=30)

    async def send() -> None:
        await sender.send(message())  # opens the connection, and lets the clock of the test begin
        await sender.send(largest)

    (await disturbance(send(), lambda: asyncio.sleep(0))).check()
    assert len(server.taken) == 2


async def test_a_mail_arrives_whole_with_its_envelope(server: smtp_server.MailServer, new_sender: NewSender) -> None:
    answer = await new_sender(server.port).send(message(item(title="Gießen: über 20 °C", note=".\nA dot\n..")))
    assert answer == "250 2.0.0 queued as 17"
    (mail,) = server.taken
    assert (mail.sender, mail.recipients) == ("notifications@focusmesh.example", ["ada@example.org"])
    assert mail.message["Subject"] == "Reminder: Gießen: über 20 °C"
    text = mail.message.get_body(("plain",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n").startswith("Gießen: über 20 °C\n\n.\nA dot\n..\n")


async def test_mails_one_after_the_other_share_a_connection(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    sender = new_sender(server.port)
    for number in range(3):
        await sender.send(message(item(title=f"Mail {number}")))
    assert [mail.message["Subject"] for mail in server.taken] == [f"Reminder: Mail {n}" for n in range(3)]
    assert server.connections == 1


@pytest.mark.parametrize("way", ["starttls", "implicit"])
async def test_a_mail_is_encrypted_for_a_server_with_the_right_certificate(
    new_sender: NewSender, tmp_path: Path, way: str
) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("server", LOOPBACK)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own.certificate, own.key)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with taking_mail(tls=tls, implicit=way == "implicit") as server:
        with pytest.raises(TemporaryFailure, match="certificate"):
            await new_sender(server.port, way, ca_file=str(other.file)).send(message())
        assert server.taken == []
        await new_sender(server.port, way, ca_file=str(authority.file)).send(message())
        assert [mail.encrypted for mail in server.taken] == [True]


async def test_nothing_is_sent_in_plain_text_to_a_server_that_does_not_offer_encryption(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    with pytest.raises(TemporaryFailure, match="no mail server"):
        await new_sender(server.port, "starttls").send(message())
    assert server.taken == []


async def test_a_password_that_is_not_accepted_is_no_fault_of_the_address(new_sender: NewSender) -> None:
    async with taking_mail(password="right") as server:
        with pytest.raises(TemporaryFailure, match="535"):
            await new_sender(server.port, user="focusmesh", password="wrong").send(message())
        await new_sender(server.port, user="focusmesh", password="right").send(message())
        assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("response", "kind"),
    [("550 5.1.1 no such user", PermanentFailure), ("451 4.7.1 greylisted, try again", TemporaryFailure)],
)
async def test_one_address_is_refused_and_others_are_served(
    server: smtp_server.MailServer, new_sender: NewSender, response: str, kind: type[Exception]
) -> None:
    server.refused["eve@example.org"] = response
    sender = new_sender(server.port)
    await sender.send(message())
    with pytest.raises(kind, match=response):
        await sender.send(message(address="eve@example.org"))
    await sender.send(message(address="bob@example.org"))
    assert [mail.recipients for mail in server.taken] == [["ada@example.org"], ["bob@example.org"]]


@pytest.mark.parametrize(
    ("response", "kind"),
    [("554 5.7.1 looks like spam", PermanentFailure), ("452 4.3.1 disk full", TemporaryFailure)],
)
async def test_a_mail_is_refused_for_good_or_for_now(
    server: smtp_server.MailServer, new_sender: NewSender, response: str, kind: type[Exception]
) -> None:
    server.data_response = response
    with pytest.raises(kind, match=response):
        await new_sender(server.port).send(message())


async def test_a_server_that_is_away_is_a_failure_for_now_and_takes_the_same_mail_when_it_is_back(
    new_sender: NewSender,
) -> None:
    (port,) = free_ports(1)
    sender = new_sender(port)
    with pytest.raises(TemporaryFailure, match="no mail server"):
        await sender.send(message())
    async with taking_mail(port) as server:
        await sender.send(message())
        assert [mail.message["Message-ID"] for mail in server.taken] == [f"<{message().message_id}@focusmesh.example>"]


async def test_a_server_that_was_restarted_between_two_mails_takes_both(new_sender: NewSender) -> None:
    (port,) = free_ports(1)
    sender = new_sender(port)
    async with taking_mail(port) as first:
        await sender.send(message())
    await until(lambda: first.connections == 1, "it was there")
    async with taking_mail(port) as second:
        await sender.send(message())
    assert (len(first.taken), len(second.taken)) == (1, 1)


async def test_a_slow_server_keeps_no_mail_for_longer_than_it_may_take(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    server.held.clear()
    began = time.monotonic()
    with pytest.raises(TemporaryFailure, match="did not respond in time"):
        await new_sender(server.port, seconds=0.4).send(message())
    assert 0.4 <= time.monotonic() - began < 2
    assert server.arrived.is_set()


async def test_a_server_that_is_slow_and_sure_gets_the_time_there_is(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    server.held.clear()
    sender = new_sender(server.port)

    async def release() -> None:
        await server.arrived.wait()
        server.held.set()

    answer, _ = await asyncio.gather(sender.send(message()), release())
    assert answer.startswith("250")


async def test_a_server_that_takes_connections_and_says_nothing_keeps_no_mail(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    proxy = FaultProxy(f"smtp://{LOOPBACK}:{server.port}")
    await proxy.up()
    proxy.freeze()
    with pytest.raises(TemporaryFailure, match="did not respond in time"):
        await new_sender(proxy.port, seconds=0.4).send(message())
    await proxy.down()


async def test_a_connection_that_breaks_is_a_failure_for_now(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    proxy = FaultProxy(f"smtp://{LOOPBACK}:{server.port}")
    await proxy.reset()
    with pytest.raises(TemporaryFailure, match="no mail server"):
        await new_sender(proxy.port).send(message())
    await proxy.down()


async def test_an_address_that_is_none_is_refused_before_anybody_is_called(
    server: smtp_server.MailServer, new_sender: NewSender
) -> None:
    with pytest.raises(PermanentFailure, match="address cannot be used"):
        await new_sender(server.port).send(message(address="ada@example.org>\r\nRCPT TO:<eve@example.org"))
    assert server.connections == 0


def test_a_setting_that_is_none_of_the_ways_to_encrypt_is_an_error(new_sender: NewSender) -> None:
    with pytest.raises(ValueError, match="'ssl' is not one of starttls, implicit, none"):
        new_sender(25, "ssl")
