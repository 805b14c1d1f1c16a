"""What the mail catcher keeps."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from stack.commands import mail as command
from stack.errors import StackError
from stack.infrastructure import mail
from stack.layout import State
from stack.mail_catcher import Mailbox


def content(subject: str, text: str = "Water the plants.") -> bytes:
    """A message with a text and an HTML part."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "reminders@focusmesh.example", "ada@example.org", subject
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message.as_bytes()


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A stack that caught two messages to Ada and one to Bob."""
    mailbox = Mailbox(State(tmp_path).mail)
    for recipient, subject in (("ada", "First"), ("bob", "Second"), ("ada", "Grüße")):
        mailbox.keep("reminders@focusmesh.example", [f"{recipient}@example.org"], content(subject))
    return State(tmp_path)


def subjects(state: State) -> list[str]:
    """Of all kept messages, oldest first."""
    return [mail.read(path)["Subject"] for path in mail.caught(state)]


def test_messages_are_kept_in_their_order_with_their_envelope(state: State) -> None:
    assert subjects(state) == ["First", "Second", "Grüße"]
    assert mail.read(mail.caught(state)[1])["X-RcptTo"] == "bob@example.org"


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    mailbox = Mailbox(State(tmp_path).mail, most_messages=2)
    for subject in "abc":
        mailbox.keep("from", ["to"], content(subject))
    assert subjects(State(tmp_path)) == ["b", "c"]


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    large = content("b", "x" * 5000)
    mailbox = Mailbox(State(tmp_path).mail, most_bytes=2 * len(large))
    for each in (content("a"), large, large):
        mailbox.keep("from", ["to"], each)
    assert subjects(State(tmp_path)) == ["b"]


def test_a_mailbox_that_is_opened_again_counts_what_it_has(state: State) -> None:
    Mailbox(state.mail, most_messages=3).keep("from", ["to"], content("Fourth"))
    assert subjects(state) == ["Second", "Grüße", "Fourth"]


def listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: State, **choice: str) -> str:
    """What `make mail` prints."""
    for name, value in {"FOCUSMESH_STATE": str(state.folder), **choice}.items():
        monkeypatch.setenv(name, value)
    command.main()
    return capsys.readouterr().out


def test_the_list_begins_with_the_newest(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = listed(capsys, monkeypatch, state).splitlines()[1:]
    assert [(words[0], words[-2], words[-1]) for words in map(str.split, lines)] == [
        ("1", "ada@example.org", "Grüße"),
        ("2", "bob@example.org", "Second"),
        ("3", "ada@example.org", "First"),
    ]


def test_a_message_of_one_recipient_is_shown_whole(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = listed(capsys, monkeypatch, state, TO="ada@example.org", M="2")
    assert "Subject: First" in shown
    assert "Water the plants." in shown
    assert "<p>Water the plants.</p>" in shown


def test_a_recipient_without_mail_is_no_error(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listed(capsys, monkeypatch, state, TO="eve@example.org") == "No mail to eve@example.org was sent yet.\n"


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({"M": "4"}, "only 3 messages"),
        ({"M": "3", "TO": "ada@example.org"}, "only 2 messages to ada@example.org"),
        ({"M": "0"}, "M=0 is not the number of a message"),
        ({"M": "x"}, "M=x is not the number of a message"),
    ],
)
def test_a_message_that_is_not_there_is_an_error_that_says_how_many_are(
    state: State,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    choice: dict[str, str],
    why: str,
) -> None:
    with pytest.raises(StackError, match=why):
        listed(capsys, monkeypatch, state, **choice)
