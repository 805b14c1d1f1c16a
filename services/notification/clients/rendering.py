"""What people read: subjects, mails in text and HTML, and short forms, from the templates beside this file."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mesh.runtime import clock
from services.notification.model import Kind, Outgoing

_TEMPLATES = Path(__file__).with_name("templates")
_SUBJECT = 150
"""Characters; mail programs show fewer."""


class Renderer:
    """Fills the templates. Whatever comes from users is escaped in HTML, and kept to one line in subjects."""

    def __init__(self, app_url: str = "") -> None:
        """app_url: of the web app, where links of mails for accounts lead; empty: they show the code alone."""
        self._app_url = app_url.rstrip("/")
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(line=line, shortened=shortened)

    def subject(self, outgoing: Outgoing) -> str:
        """One line that says what it is about."""
        return shortened(line(self._fill(outgoing, "subject.txt")), _SUBJECT)

    def summary(self, outgoing: Outgoing) -> str:
        """One line that says more: the note and when it is due, or what was combined."""
        return line(self._fill(outgoing, "summary.txt"))

    def sms(self, outgoing: Outgoing) -> str:
        """Subject and summary, for a telephone."""
        return line(f"{self.subject(outgoing)} {self.summary(outgoing)}")

    def text(self, outgoing: Outgoing, unsubscribe: str = "") -> str:
        """The plain text of a mail. unsubscribe: link that ends such mails; empty for those that nobody can end."""
        return self._fill(outgoing, "mail.txt", unsubscribe).strip() + "\n"

    def html(self, outgoing: Outgoing, unsubscribe: str = "") -> str:
        """The HTML of a mail."""
        return self._fill(outgoing, "mail.html", unsubscribe)

    def _fill(self, outgoing: Outgoing, part: str, unsubscribe: str = "") -> str:
        zone = _zone(outgoing.time_zone)
        return self._templates.get_template(f"{_purpose(outgoing)}/{part}").render(
            message=outgoing,
            first=outgoing.items[0],
            items=outgoing.items,
            unlisted=outgoing.count - len(outgoing.items),
            unsubscribe=unsubscribe,
            link=f"{self._app_url}/{_purpose(outgoing)}#token={outgoing.token}" if self._app_url else "",
            local=lambda instant: local(instant, zone),
        )


def line(text: object) -> str:
    """The text in one line, without control characters."""
    joined = " ".join(str(text).split())
    return joined if joined.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in joined).split())


def shortened(text: str, most: int) -> str:
    """At most so many characters; an ellipsis stands for the rest."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def local(instant: int, zone: ZoneInfo) -> str:
    """An instant on the user's clock, such as `Mon 9 Feb 2026, 14:30 (Europe/Berlin)`."""
    at: datetime = clock.to_datetime(instant).astimezone(zone)
    return f"{at:%a} {at.day} {at:%b %Y, %H:%M} ({zone.key})"


def _purpose(outgoing: Outgoing) -> str:
    """The folder of its templates."""
    purpose = outgoing.items[0].event_type if outgoing.kind is Kind.ACCOUNT else outgoing.kind.value
    return str(purpose).replace("_", "-")


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
