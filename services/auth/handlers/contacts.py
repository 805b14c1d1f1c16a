"""The RPCs of ContactService: the service that sends asks where, and for the token in the mail."""

from focusmesh.auth.v1 import contact_service_pb2 as pb
from focusmesh.auth.v1 import contact_service_pb2_grpc as rpc

from mesh.database.pool import Database
from mesh.rpc.call import Context
from mesh.runtime.clock import Clock
from services.auth import wire
from services.auth.model import MailKind
from services.auth.rules import addresses
from services.auth.rules.tokens import RefreshTokens
from services.auth.store import accounts, mails


class ContactHandlers(rpc.ContactServiceServicer):
    """Where users are reached, for the service that reaches them."""

    def __init__(self, db: Database, tokens: RefreshTokens, clock: Clock) -> None:
        """tokens: hashes what is stored of a token."""
        self.db, self.tokens, self.clock = db, tokens, clock

    async def GetContact(self, request: pb.GetContactRequest, context: Context) -> pb.GetContactResponse:
        async with self.db.connection() as connection:
            contact = await accounts.get_contact(connection, request.user_id)
        return pb.GetContactResponse(contact=wire.contact_to_pb(contact))

    async def IssueMailToken(self, request: pb.IssueMailTokenRequest, context: Context) -> pb.IssueMailTokenResponse:
        now, token = self.clock(), addresses.new_token()
        async with self.db.connection() as connection:
            mail = await mails.get_mail(connection, request.user_id, request.mail_id, now - addresses.MAIL_LIFE)
            expires_at = now + addresses.TOKEN_LIFE[MailKind(mail.kind)]
            await mails.set_token(connection, mail, self.tokens.hash(token), expires_at)
        return wire.mail_token_to_pb(token, mail.kind, expires_at)
