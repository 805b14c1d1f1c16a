"""Guests, and users who claim them."""

from typing import NamedTuple

import grpc
import jwt
from focusmesh.auth.v1 import session_pb2, session_service_pb2, session_service_pb2_grpc
from focusmesh.pomodoro.v1 import guest_claim_service_pb2 as pb
from focusmesh.pomodoro.v1 import guest_claim_service_pb2_grpc as rpc

from tests.contract.pomodoro.devices import Device
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

Sessions = session_service_pb2_grpc.SessionServiceStub


class Claimant(NamedTuple):
    """A device of a user, who claims guests."""

    device: Device
    claims: UserStub


class Guest(NamedTuple):
    """A guest, as its device and its tokens."""

    device: Device
    tokens: session_pb2.Tokens


async def a_guest(channel: grpc.aio.Channel, sessions: Sessions, signer: Signer) -> Guest:
    tokens = (await sessions.CreateGuest(session_service_pb2.CreateGuestRequest())).tokens
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
    return Guest(Device(channel, signer, claims.pop("sub"), **claims), tokens)


def a_user(channel: grpc.aio.Channel, signer: Signer) -> Claimant:
    device = Device(channel, signer)
    return Claimant(device, UserStub(rpc.GuestClaimServiceStub(channel), pb, signer, device.user_id))


async def claim(user: Claimant, guest: Guest) -> pb.ClaimGuestSessionsResponse:
    response: pb.ClaimGuestSessionsResponse = await user.claims.ClaimGuestSessions(
        guest_refresh_token=guest.tokens.refresh_token, timeout=30
    )
    return response


async def worked(device: Device) -> int:
    """Seconds of all sessions of a user."""
    listed = (await device.ListFocusSessions()).focus_sessions
    return sum(each.total_focused_seconds + each.total_break_seconds for each in listed)
