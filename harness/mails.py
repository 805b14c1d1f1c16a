"""Mails of a running stack with their tokens, as the service that sends gets them."""

from collections.abc import Callable

import psycopg
from focusmesh.auth.v1 import contact_service_pb2 as pb

from harness.clients import Grpc
from harness.rpcs import BY_NAME
from mesh.runtime.ids import new_id
from services.notification.clients.unsubscribe import Subscription, UnsubscribeLinks
from services.notification.model import Kind
from stack.database import MAIN
from stack.stack import Stack

KINDS = {"VerifyEmail": "verify_email", "ResetPassword": "reset_password"}
"""What a mail must be for, so that its token fits the RPC."""
WITH_TOKEN = (*KINDS, "Unsubscribe")
"""RPCs that take a token from a mail."""


class Mails:
    """Mails that auth has been asked for, without the wait for whoever sends them."""

    def __init__(self, stack: Stack, sign: Callable[[str], str]) -> None:
        """sign: makes tokens of the service notification, for a callee."""
        self._links = UnsubscribeLinks(stack.keys.password("unsubscribe-links"), stack.gateway_url)
        self._database = stack.cluster.administrator_url(MAIN)
        [auth, *_] = stack.replicas_of("auth")
        self._auth = f"127.0.0.1:{auth.port(stack.ports)}"
        self._sign = sign

    def requested(self, user_id: str, kind: str) -> str:
        """Id of a mail to the user that has no token yet."""
        mail_id = new_id()
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute("INSERT INTO auth.mails VALUES (%s, %s, %s, now())", (mail_id, user_id, kind))
        return mail_id

    def token_for(self, method: str, user_id: str) -> str:
        """The token that an RPC takes from a mail to the user."""
        if method in KINDS:
            return self.token(user_id, KINDS[method])
        return self._links.link(Subscription(user_id, Kind.REMINDER)).rpartition("/")[2]

    def token(self, user_id: str, kind: str) -> str:
        """The token of a mail to the user."""
        request = pb.IssueMailTokenRequest(user_id=user_id, mail_id=self.requested(user_id, kind))
        client = Grpc(self._auth)
        result = client.call(BY_NAME["IssueMailToken"], request, self._sign("auth"))
        client.close()
        assert isinstance(result.response, pb.IssueMailTokenResponse), result
        return result.response.token
