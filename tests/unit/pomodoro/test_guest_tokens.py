"""Errors of auth about the refresh token of a guest."""

from typing import Any, cast

import grpc
import pytest
from focusmesh.pomodoro.v1.guest_claim_service_pb2 import PreviewGuestClaimRequest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from mesh.rpc.call import CallContext, set_current_call
from mesh.rpc.status import CalleeError
from mesh.runtime.errors import ServiceError
from services.pomodoro.errors import GuestTokenInvalid
from services.pomodoro.handlers.claims import GuestClaimHandlers

NOTHING = cast(Any, None)


class Auth:
    """GuestService, which refuses every call."""

    def __init__(self, reason: str) -> None:
        info = Packed()
        info.Pack(ErrorInfo(reason=reason, domain="auth.focusmesh"))
        self.error = CalleeError(grpc.StatusCode.UNAUTHENTICATED, Status(code=16, details=[info]))

    async def GetGuest(self, _request: object) -> None:
        raise self.error


async def refused(auth: Auth) -> ServiceError:
    request = PreviewGuestClaimRequest(guest_refresh_token="a token")
    set_current_call(CallContext("package.Service/Method", {}, "", request, NOTHING))
    handlers = GuestClaimHandlers(NOTHING, NOTHING, cast(Any, auth), NOTHING, lambda: None)
    with pytest.raises(ServiceError) as raised:
        await handlers.PreviewGuestClaim(request, NOTHING)
    return raised.value


async def test_a_token_that_auth_does_not_know_is_named() -> None:
    error = await refused(Auth("REFRESH_TOKEN_INVALID"))
    assert isinstance(error, GuestTokenInvalid)
    assert [each.field for each in error.fields] == ["guest_refresh_token"]


async def test_every_other_error_of_auth_stays_what_it_is() -> None:
    auth = Auth("ACCOUNT_LOCKED")
    assert await refused(auth) is auth.error
