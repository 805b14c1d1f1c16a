"""Where users are reached, and the secrets of their mails, from auth."""

from typing import NamedTuple

from focusmesh.auth.v1.contact_service_pb2 import GetContactRequest, IssueMailTokenRequest
from focusmesh.auth.v1.contact_service_pb2_grpc import ContactServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError
from mesh.runtime import clock


class Contact(NamedTuple):
    """Where a user is reached."""

    email: str
    email_verified: bool
    name: str
    time_zone: str


class MailToken(NamedTuple):
    """The token of a mail, which is never stored, logged or traced."""

    token: str
    expires_at: int


class Contacts:
    """Calls to auth; each raises DependencyUnavailable while auth is away."""

    def __init__(self, platform: Platform) -> None:
        self._stub = ContactServiceStub(platform.client("auth").channel)

    async def contact(self, user_id: str) -> Contact | None:
        """Where a user is reached now; None when the account is closed."""
        try:
            response = await self._stub.GetContact(GetContactRequest(user_id=user_id))
        except CalleeError as error:
            if error.reason != "USER_NOT_FOUND":
                raise
            return None
        found = response.contact
        return Contact(found.email, found.email_verified, found.name, found.time_zone)

    async def mail_token(self, user_id: str, mail_id: str) -> MailToken | None:
        """A token for a mail that is being sent, which voids the one before; None when it must not be sent."""
        try:
            response = await self._stub.IssueMailToken(IssueMailTokenRequest(user_id=user_id, mail_id=mail_id))
        except CalleeError as error:
            if error.reason != "MAIL_NOT_FOUND":
                raise
            return None
        return MailToken(response.token, clock.from_timestamp(response.expire_time))
