"""Links by which a reader of a mail ends such mails without signing in (RFC 8058)."""

import hashlib
from typing import NamedTuple
from urllib.parse import quote

import jwt

from services.notification.model import Kind

_AUDIENCE = "unsubscribe"
_ALGORITHM = "HS256"


class Subscription(NamedTuple):
    """Mails of one kind to one user."""

    user_id: str
    kind: Kind


class UnsubscribeLinks:
    """Makes and reads the links. They stay valid: a mail may be read years later."""

    def __init__(self, key: str, url: str) -> None:
        """key: a secret of the service, the same in all replicas. url: of the REST API, as readers reach it."""
        self._key, self._url = hashlib.blake2b(key.encode()).digest(), url.rstrip("/")

    def link(self, subscription: Subscription) -> str:
        """The address to POST to."""
        claims = {"aud": _AUDIENCE, "sub": subscription.user_id, "kind": subscription.kind.value}
        token = jwt.encode(claims, self._key, _ALGORITHM)
        return f"{self._url}/v1/notifications/unsubscribe/{quote(token)}"

    def read(self, token: str) -> Subscription | None:
        """Whose mails a token ends; None when it was not made here."""
        try:
            claims = jwt.decode(token, self._key, [_ALGORITHM], audience=_AUDIENCE)
            return Subscription(str(claims["sub"]), Kind(claims["kind"]))
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return None
