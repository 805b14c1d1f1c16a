"""What people read, and what programs find in it."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.clock import SECOND
from services.notification.clients.email import EmailSender, MailServer
from services.notification.clients.rendering import Renderer
from services.notification.clients.unsubscribe import Subscription, UnsubscribeLinks
from services.notification.model import Kind, Outgoing
from tests.support.outgoing import AT, account, item, message

HOUR = 3600 * SECOND
LINKS = UnsubscribeLinks("a secret of thirty-two characters", "https://api.example.org")
SENDER = EmailSender(
    MailServer("127.0.0.1", 25, "none"), Renderer(), LINKS, sender="Focusmesh <notifications@focusmesh.example>"
)
HOSTILE = "<script>alert(1)</script> & \"quotes\" 'n' {{ 7 * 7 }} {% raw %}"


class Texts(HTMLParser):
    """Reads the elements and the texts of a document; what is left open is in `open`."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """A text, inside of an element."""
        if data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))

    def inside(self, tag: str) -> list[str]:
        """The texts of elements of one name."""
        return [text for found, text in self.texts if found == tag]


def sent(outgoing: Outgoing, sender: EmailSender = SENDER) -> EmailMessage:
    """The mail, as a program reads the bytes that were sent."""
    parsed = message_from_bytes(sender.message(outgoing).as_bytes(), policy=default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def text(mail: EmailMessage) -> str:
    """The plain text."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html(mail: EmailMessage) -> Texts:
    """The HTML, every element of it closed."""
    part = mail.get_body(("html",))
    assert part is not None
    document = Texts(part.get_content())
    assert document.open == []
    return document


def test_a_reminder_is_a_mail_with_text_and_html() -> None:
    mail = sent(message(item(title="Water the plants", note="The small ones\ntoo", due_date=AT + HOUR)))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["Subject"] == "Reminder: Water the plants"
    assert mail["From"] == "Focusmesh <notifications@focusmesh.example>"
    assert mail["To"] == "Ada <ada@example.org>"
    assert text(mail).startswith(
        "Water the plants\n  Due Mon 9 Feb 2026, 14:30 (Europe/Berlin)\n\nThe small ones\ntoo\n"
    )
    document = html(mail)
    assert document.inside("h2") == ["Water the plants"]
    assert "Due Mon 9 Feb 2026, 14:30 (Europe/Berlin)" in document.inside("p")
    assert "The small ones too" in document.inside("p")


def test_a_reminder_of_an_event_says_when_that_begins() -> None:
    mail = sent(message(item(event_id="019c4278-2f00-7ddd-8000-000000000005", due_date=AT + HOUR)))
    assert "Begins Mon 9 Feb 2026, 14:30 (Europe/Berlin)" in text(mail)
    assert "Begins Mon 9 Feb 2026, 14:30 (Europe/Berlin)" in html(mail).inside("p")


def test_a_late_reminder_says_when_it_was_to_come() -> None:
    mail = sent(message(item(is_late=True)))
    expected = "This is late: it was to come Mon 9 Feb 2026, 13:30 (Europe/Berlin)"
    assert expected in text(mail)
    assert expected in html(mail).inside("p")


def test_a_combined_message_lists_what_it_tells_of_and_how_much_it_leaves_out() -> None:
    items = [item(title=f"Task {number}") for number in range(50)]
    mail = sent(message(*items, count=53))
    assert mail["Subject"] == "53 reminders: Task 0 and 52 more"
    assert html(mail).inside("h2") == [one.title for one in items]
    assert [line for line in text(mail).splitlines() if line.startswith("* ")] == [f"* {one.title}" for one in items]
    assert "and 3 more" in text(mail)
    assert "and 3 more" in html(mail).inside("p")


@pytest.mark.parametrize(("event", "verb"), [("task-completed", "Completed"), ("task-deleted", "Deleted")])
def test_a_change_of_a_task_says_what_happened_to_it(event: str, verb: str) -> None:
    mail = sent(message(item(event_type=event), kind=Kind.UPDATE))
    assert mail["Subject"] == f"{verb}: Water the plants"
    assert f"{verb}: Water the plants\n  Mon 9 Feb 2026, 13:30" in text(mail)
    assert html(mail).inside("h2") == [f"{verb}: Water the plants"]


@pytest.mark.parametrize("kind", [Kind.REMINDER, Kind.UPDATE])
def test_what_users_write_is_text_in_html_and_never_a_template(kind: Kind) -> None:
    document = html(sent(message(item(title=HOSTILE, note=HOSTILE, event_type="task-deleted"), kind=kind)))
    assert "script" not in [tag for tag, _ in document.elements]
    assert any(HOSTILE in shown for shown in document.inside("h2"))


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=80))
def test_no_title_note_or_name_breaks_a_mail(title: str, note: str, name: str) -> None:
    mail = sent(message(item(title=title, note=note), name=name))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["To"].addresses[0].addr_spec == "ada@example.org"
    assert set(mail.keys()) == set(sent(message()).keys())
    html(mail)


def test_a_mail_has_the_same_message_id_in_every_attempt_and_says_that_a_program_wrote_it() -> None:
    first, second = sent(message()), sent(message(begun_at=AT + HOUR))
    assert first["Message-ID"] == second["Message-ID"] == f"<{message().message_id}@focusmesh.example>"
    assert first["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("kind", [Kind.REMINDER, Kind.UPDATE])
def test_mails_of_a_kind_can_be_ended_by_one_click(kind: Kind) -> None:
    mail = sent(message(item(event_type="task-deleted"), kind=kind))
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://api.example.org/v1/notifications/unsubscribe/")
    assert LINKS.read(link.rpartition("/")[2]) == Subscription(message().user_id, kind)


def test_a_link_that_was_changed_or_made_elsewhere_ends_nothing() -> None:
    token = LINKS.link(Subscription("ada", Kind.REMINDER)).rpartition("/")[2]
    other = UnsubscribeLinks("another secret of thirty-two chars", "https://api.example.org")
    assert [LINKS.read(token[:-2] + "AA"), other.read(token), LINKS.read(""), LINKS.read("a.b.c")] == [None] * 4


@pytest.mark.parametrize(
    ("event", "subject"),
    [("verify_email", "Verify your mail address"), ("reset_password", "Choose a new password")],
)
def test_a_mail_for_an_account_shows_its_code_and_cannot_be_ended(event: str, subject: str) -> None:
    mail = sent(account(event))
    assert mail["Subject"] == subject
    assert mail["List-Unsubscribe"] is None
    assert "\n  tok-123\n" in text(mail)
    assert "valid until Mon 9 Feb 2026, 13:30 (Europe/Berlin)" in text(mail)
    assert html(mail).inside("code") == ["tok-123"]
    assert html(mail).inside("a") == []


def test_a_mail_for_an_account_links_to_the_app_where_there_is_one() -> None:
    sender = EmailSender(
        MailServer("127.0.0.1", 25, "none"), Renderer("https://app.example.org/"), LINKS, sender="a@focusmesh.example"
    )
    mail = sent(account("reset_password"), sender)
    link = "https://app.example.org/reset-password#token=tok-123"
    assert link in text(mail)
    assert ("a", link) in [(tag, found.get("href")) for tag, found in html(mail).elements]


def test_an_sms_is_one_line() -> None:
    renderer = Renderer()
    assert renderer.sms(account("verify_phone")) == (
        "tok-123 is your code for Focusmesh. Valid until Mon 9 Feb 2026, 13:30 (Europe/Berlin)."
    )
    assert renderer.sms(message(item(note="Both\nof them", due_date=AT))) == (
        "Reminder: Water the plants Due Mon 9 Feb 2026, 13:30 (Europe/Berlin). Both of them"
    )


def test_a_zone_that_is_not_known_here_is_shown_as_utc() -> None:
    assert "Due Mon 9 Feb 2026, 12:30 (UTC)" in text(sent(message(item(due_date=AT), time_zone="Mars/Olympus")))


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@", "a b@example.org", "ada@example.org\r\nBcc: eve@example.org", "ädä@x.org"]
)
def test_an_address_that_cannot_be_used_is_an_error(address: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (its message is the library's)
        SENDER.message(message(address=address))


@pytest.mark.parametrize("length", range(20, 96, 5))
@pytest.mark.parametrize(
    "name", ["x{}, <eve@evil.example>, y", "=?utf-8?q?a?= <eve@evil.example>,{}", 'ä{}" <eve@evil.example>']
)
def test_a_mail_has_one_recipient_whatever_the_name(name: str, length: int) -> None:
    """Folding a long header, the library drops the quotes of a name."""
    raw = SENDER.message(message(name=name.format("x" * (length - 20)))).as_bytes()
    parsed = message_from_bytes(raw, policy=default)
    assert [address.addr_spec for address in parsed["To"].addresses] == ["ada@example.org"]


def test_the_link_that_ends_mails_is_in_its_header_as_it_is() -> None:
    """Mail programs do not decode it."""
    head = SENDER.message(message()).as_bytes().partition(b"\r\n\r\n")[0]
    [line] = [line for line in head.split(b"\r\n") if line.startswith(b"List-Unsubscribe:")]
    assert re.fullmatch(rb"List-Unsubscribe: <https://[!-~]+>", line)
