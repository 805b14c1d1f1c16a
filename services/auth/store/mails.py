"""SQL of mails with a token, and of the requests for them."""

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.auth.errors import MailNotFound, MailTokenInvalid
from services.auth.model import Mail, MailKind, MailRequest
from services.auth.store import ACTIVE

MAILS = Columns("mails", Mail, {"id": "uuid", "user_id": "uuid", "kind": "text", "requested_at": "timestamptz"})
REQUESTS = Columns(
    "mail_requests",
    MailRequest,
    {"id": "uuid", "email": "text", "kind": "text", "requested_at": "timestamptz", "traceparent": "text"},
)

_INSERT_REQUEST = f"INSERT INTO mail_requests ({REQUESTS.names}) VALUES ({REQUESTS.values}) RETURNING id"


async def insert_request(connection: Connection, request: MailRequest, side_effects: SideEffects) -> None:
    """Notes that a mail is asked for: the same work whether an account has the address."""
    await outbox.write(connection, _INSERT_REQUEST, REQUESTS.parameters(request), side_effects)


_TAKE_REQUEST = f"""
    DELETE FROM mail_requests WHERE id = (
        SELECT id FROM mail_requests ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING {REQUESTS.select}"""


async def take_request(tx: Connection) -> MailRequest | None:
    """Removes the oldest request that no other replica is at; returns it, or None."""
    cursor = REQUESTS.cursor(tx)
    await cursor.execute(_TAKE_REQUEST)
    return await cursor.fetchone()


_INSERT_MAIL = f"INSERT INTO mails ({MAILS.names}) VALUES ({MAILS.values}) RETURNING id"


async def insert_mail(tx: Connection, mail: Mail, side_effects: SideEffects) -> None:
    """Writes a mail, whose token does not exist yet."""
    await outbox.write(tx, _INSERT_MAIL, MAILS.parameters(mail), side_effects)


_OPEN = f"mails.closed_at IS NULL AND users.id = mails.user_id AND {ACTIVE}"
_GET_MAIL = f"""
    SELECT {MAILS.select} FROM mails, users
    WHERE mails.user_id = %(user_id)s AND mails.id = %(mail_id)s AND requested_at >= %(since)s AND {_OPEN}"""


async def get_mail(connection: Connection, user_id: str, mail_id: str, since: int) -> Mail:
    """Reads a mail that was asked for since this instant; raises MailNotFound when there is none or it is closed."""
    cursor = MAILS.cursor(connection)
    await cursor.execute(_GET_MAIL, {"user_id": user_id, "mail_id": mail_id, "since": to_datetime(since)})
    mail = await cursor.fetchone()
    if mail is None:
        raise MailNotFound(mail_id=mail_id)
    return mail


async def set_token(connection: Connection, mail: Mail, token_hash: str, expires_at: int) -> None:
    """Gives a mail its token, in place of the one before; raises MailNotFound when it was closed meanwhile."""
    cursor = await connection.execute(
        """
        UPDATE mails SET token_hash = %(token_hash)s, expires_at = %(expires_at)s
        WHERE user_id = %(user_id)s AND id = %(id)s AND closed_at IS NULL""",
        {"user_id": mail.user_id, "id": mail.id, "token_hash": token_hash, "expires_at": to_datetime(expires_at)},
    )
    if cursor.rowcount == 0:
        raise MailNotFound(mail_id=mail.id)


_VALID = f"mails.token_hash = %(token_hash)s AND mails.kind = %(kind)s AND mails.expires_at > %(now)s AND {_OPEN}"


async def require_token(connection: Connection, token_hash: str, kind: MailKind, now: int) -> str:
    """The user whose token it is; raises MailTokenInvalid unless it could be used now."""
    return await _one_user(
        connection, f"SELECT mails.user_id::text FROM mails, users WHERE {_VALID}", token_hash, kind, now
    )


async def use_token(tx: Connection, token_hash: str, kind: MailKind, now: int) -> str:
    """Closes the mail of a token; of callers with one token exactly one succeeds. Raises MailTokenInvalid.

    Locks the account first: of callers with tokens of several mails each closes the mails of the others.
    """
    await tx.execute(
        "SELECT FROM users WHERE id = (SELECT user_id FROM mails WHERE token_hash = %s) FOR NO KEY UPDATE",
        (token_hash,),
    )
    used = f"UPDATE mails SET closed_at = %(now)s FROM users WHERE {_VALID} RETURNING mails.user_id::text"
    return await _one_user(tx, used, token_hash, kind, now)


async def close_mails(tx: Connection, user_id: str, kind: MailKind, now: int) -> None:
    """Closes every mail of this kind that a user has: the tokens are voided, and those not sent yet stay unsent."""
    await tx.execute(
        """
        UPDATE mails SET closed_at = %(now)s
        WHERE user_id = %(user_id)s AND kind = %(kind)s AND closed_at IS NULL""",
        {"user_id": user_id, "kind": kind, "now": to_datetime(now)},
    )


async def purge_mails(connection: Connection, before: int, limit: int) -> int:
    """Deletes mails that were asked for before this instant; returns how many, at most `limit`."""
    cursor = await connection.execute(
        """
        DELETE FROM mails WHERE id IN (
            SELECT id FROM mails WHERE requested_at < %(before)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED)""",
        {"before": to_datetime(before), "limit": limit},
    )
    return cursor.rowcount


async def _one_user(connection: Connection, sql: str, token_hash: str, kind: MailKind, now: int) -> str:
    cursor = await connection.execute(sql, {"token_hash": token_hash, "kind": kind, "now": to_datetime(now)})
    row = await cursor.fetchone()
    if row is None:
        raise MailTokenInvalid
    user_id: str = row[0]
    return user_id
