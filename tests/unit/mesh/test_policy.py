"""Who may call: guests only what is for guests."""

import pytest
from focusmesh.policy.v1 import policy_pb2

from mesh.rpc.identity import Identity
from mesh.rpc.policy import Policy
from mesh.runtime.errors import GuestNotAllowed, ScopeMissing

USER = Identity("u", "s", frozenset({"focus:write", "admin"}), 0, 600)
GUEST = USER._replace(guest_until=172_800)


def policy(access: policy_pb2.Access.ValueType, scope: str = "focus:write") -> Policy:
    return Policy(access, scope, frozenset())


@pytest.mark.parametrize("access", [policy_pb2.ACCESS_GUEST, policy_pb2.ACCESS_USER, policy_pb2.ACCESS_ADMIN])
def test_a_user_may_what_is_for_users_and_for_guests(access: policy_pb2.Access.ValueType) -> None:
    policy(access).permit(USER)


def test_a_guest_may_what_is_for_guests_with_its_scope() -> None:
    policy(policy_pb2.ACCESS_GUEST).permit(GUEST)
    with pytest.raises(ScopeMissing):
        policy(policy_pb2.ACCESS_GUEST, "tasks:write").permit(GUEST)


@pytest.mark.parametrize("access", [policy_pb2.ACCESS_USER, policy_pb2.ACCESS_ADMIN])
def test_a_guest_may_nothing_else_whatever_the_scopes(access: policy_pb2.Access.ValueType) -> None:
    for scope in ("focus:write", "tasks:write", ""):
        with pytest.raises(GuestNotAllowed):
            policy(access, scope).permit(GUEST)
