"""Addresses and their mails: which mail answers a request, and the token in it."""

import base64
import secrets

from mesh.runtime.clock import DAY, SECOND
from services.auth.model import Mail, MailKind, User

MAIL_LIFE = DAY
"""A mail that could not be sent for so long is not sent any more: nobody waits for it."""
TOKEN_LIFE = {MailKind.VERIFY_EMAIL: DAY, MailKind.RESET_PASSWORD: 30 * 60 * SECOND}
KEPT = MAIL_LIFE + max(TOKEN_LIFE.values())
"""How long after it was asked for a mail may still have a token that is valid."""

_PREFIX = "fmm_"
"""Lets scanners of leaked secrets recognise the token of a mail."""
_TOKEN_BYTES = 32


def answer_to(requested: MailKind, *, verified: bool) -> MailKind | None:
    """The mail to send to the owner of an account, if any: nothing but verification to an address that is not verified.

    Who registers an address that has an account is answered like one who forgot the password.
    """
    if not verified:
        return MailKind.VERIFY_EMAIL
    return None if requested is MailKind.VERIFY_EMAIL else MailKind.RESET_PASSWORD


def first_mail(mail_id: str, user: User) -> Mail:
    """The mail that verifies the address of a new account."""
    return Mail(mail_id, user.id, MailKind.VERIFY_EMAIL, user.created_at)


def new_token() -> str:
    """A token of 256 random bits, in characters that need no escaping in a URL."""
    return _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode().rstrip("=")
