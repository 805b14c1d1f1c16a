"""Who may call what: every RPC of the contract, by every way, with every kind of caller."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from contract.methods import Method
from harness.clients import CallResult, Client, Grpc, GrpcWeb, Rest
from harness.mails import Mails
from harness.owners import Account, Guest, camel_case, claims_of, snake_case
from harness.rpcs import BY_NAME, EXPOSED, INTERNAL, descriptor, request_class
from harness.valid_requests import is_required, valid_request
from stack import registry
from stack.infrastructure.services import callers_of
from stack.stack import Stack
from tests.support.stack_keys import issuer_of, service_signer
from tests.support.tokens import Signer, service_token, symmetric, unsigned

NOT_FOUND, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED = (
    grpc.StatusCode[name].value[0] for name in ("NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")
)
OF_OTHER_SERVICES = {"todo_task_id"}
"""Fields that name what another service has: what the user does not have is an invalid value (contract tests)."""
RESOURCE_IDS = {
    field.name
    for method in EXPOSED
    for field in descriptor(method).input_type.fields
    if field.name.endswith("_id") and is_required(field) and field.name not in OF_OTHER_SERVICES
}
WHEN_READ = {"server_time", "progress_seconds", "focused_seconds", "total_focused_seconds", "total_break_seconds"}
"""Fields that run on by themselves, so that two reads differ; what they follow from does not, and is compared."""
PROTECTED = [method for method in EXPOSED if not method.public]
PUBLIC = [method for method in EXPOSED if method.public]


def resource_ids(method: Method, *, required: bool) -> set[str]:
    """The fields by which a request names a resource."""
    fields = descriptor(method).input_type.fields
    return {field.name for field in fields if field.name in RESOURCE_IDS and is_required(field) is required}


PAGED = [method for method in PROTECTED if "page_token" in request_class(method).DESCRIPTOR.fields_by_name]
ABOUT_A_RESOURCE = [
    method
    for method in PROTECTED
    if resource_ids(method, required=True) or (resource_ids(method, required=False) and method not in PAGED)
]
"""Of a list, an id that may be left out is a filter, which shows nothing instead of an error."""
FOR_GUESTS = [method for method in PROTECTED if method.access == "GUEST"]
NOT_FOR_GUESTS = [method for method in PROTECTED if method.access != "GUEST"]
ABOUT_A_USER = [
    method
    for method in PROTECTED
    if not resource_ids(method, required=True)
    and not any(
        is_required(field) and field.name in OF_OTHER_SERVICES for field in descriptor(method).input_type.fields
    )
]

Forge = Callable[[Account, Signer], str]
BAD_TOKENS: dict[str, tuple[Forge, int]] = {
    "expired": (
        lambda owner, issuer: issuer.token(
            **claims_of(owner) | {"iat": int(time.time()) - 700, "exp": int(time.time()) - 100}
        ),
        UNAUTHENTICATED,
    ),
    "wrong audience": (lambda owner, issuer: issuer.token(**claims_of(owner) | {"aud": "other"}), PERMISSION_DENIED),
    "wrong issuer": (
        lambda owner, issuer: issuer.token(**claims_of(owner) | {"iss": "https://auth.example"}),
        UNAUTHENTICATED,
    ),
    "alg none": (lambda owner, issuer: unsigned(claims_of(owner), issuer.kid), UNAUTHENTICATED),
    "HS256 with the public key": (
        lambda owner, issuer: symmetric(claims_of(owner), issuer.kid, issuer.public_bytes),
        UNAUTHENTICATED,
    ),
    "signed by an unknown key": (lambda owner, issuer: Signer(issuer.kid).token(**claims_of(owner)), UNAUTHENTICATED),
    "refresh token": (lambda owner, _: owner.refresh_token, UNAUTHENTICATED),
}


class ServiceCall(NamedTuple):
    """A caller of an internal RPC, and what its tokens are made from."""

    caller: str
    callee: str
    sign: Callable[..., str]
    """Signs as the caller: callee, and claims to change."""
    user: Account
    issuer: Signer


ForgeService = Callable[[ServiceCall], str]


def now() -> int:
    return int(time.time())


def by_name(method: Method) -> str:
    return method.name


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Account:
    """A user who has resources."""
    return Account(Rest(stack.gateway_url), Mails(stack, service_signer(stack, "notification")))


@pytest.fixture(scope="module")
def other(stack: Stack) -> Account:
    """Another user."""
    return Account(Rest(stack.gateway_url))


@pytest.fixture(scope="module")
def guest(stack: Stack) -> Guest:
    """Somebody without an account."""
    return Guest(Rest(stack.gateway_url))


@pytest.fixture(scope="module")
def theirs(owner: Account) -> set[str]:
    """What identifies the owner and a resource of every kind that they have."""
    entities = [
        snake_case(method.name.removeprefix("Create")) for method in PROTECTED if method.name.startswith("Create")
    ]
    return {owner.id, owner.email, owner.record_id(), *map(owner.created, entities)}


@pytest.fixture(scope="module")
def issuer(stack: Stack, owner: Account) -> Signer:
    """The key of the stack itself."""
    return issuer_of(stack, owner)


class Way:
    """REST or gRPC through the gateway, or gRPC straight to the service."""

    def __init__(self, name: str, stack: Stack) -> None:
        self.name = name
        self._stack = stack
        self._clients: dict[str, Rest | Grpc] = {}
        self._untouched: dict[tuple[str, str], Message] = {}

    def has(self, method: Method) -> bool:
        """Whether the RPC can be called this way."""
        return self.name != "rest" or method.binding is not None

    def call(self, method: Method, owner: Account, token: str | None, **given: str) -> CallResult:
        """A valid call about resources of the owner."""
        request = valid_request(method, {**owner.fitting(method), **given})
        return self.client(method).call(method, request, token)

    def try_call(self, method: Method, owner: Account, token: str | None) -> CallResult:
        """The same by somebody who may not make it: all of them name the same resources, which stay as they are."""
        key = owner.id, method.name
        if key not in self._untouched:
            self._untouched[key] = valid_request(method, owner.fitting(method))
        return self.client(method).call(method, self._untouched[key], token)

    def client(self, method: Method) -> Client:
        """What to call the RPC with."""
        where = method.owner if self.name == "direct" else "gateway"
        if where not in self._clients:
            self._clients[where] = self._connect(where)
        return self._clients[where]

    def close(self) -> None:
        """Ends its connections."""
        for client in self._clients.values():
            client.close()

    def _connect(self, where: str) -> Rest | Grpc:
        if self.name == "rest":
            return Rest(self._stack.gateway_url)
        if where == "gateway":
            return Grpc(self._stack.gateway_target)
        [replica, *_] = self._stack.replicas_of(where)
        return Grpc(f"127.0.0.1:{replica.port(self._stack.ports)}")


WAYS = ("rest", "grpc", "direct")


@pytest.fixture(scope="module")
def ways(stack: Stack) -> Iterator[dict[str, Way]]:
    """Every way to call an RPC; a fixture with parameters would be made again whenever the tests change it."""
    ways = {name: Way(name, stack) for name in WAYS}
    yield ways
    for way in ways.values():
        way.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, ways: dict[str, Way]) -> Way:
    """Each way to call an RPC."""
    return ways[request.param]


def ways_of(methods: list[Method]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test for every method by every way that the method has."""
    cases = [(way, method) for way in WAYS for method in methods if way != "rest" or method.binding]
    return pytest.mark.parametrize(
        ("way", "method"), cases, indirect=["way"], ids=[f"{way}-{method.name}" for way, method in cases]
    )


@ways_of(PROTECTED)
def test_the_owner_may(way: Way, method: Method, owner: Account) -> None:
    assert (result := way.call(method, owner, owner.token)).ok, result


@ways_of(PUBLIC)
@pytest.mark.parametrize("token", [None, "nonsense", "owner's"])
def test_anybody_may_call_what_is_public(way: Way, method: Method, owner: Account, token: str | None) -> None:
    assert (result := way.call(method, owner, owner.token if token == "owner's" else token)).ok, result


@ways_of(PROTECTED)
def test_nobody_may_without_a_token(way: Way, method: Method, owner: Account) -> None:
    result = way.try_call(method, owner, None)

    assert (result.code, result.http) == (UNAUTHENTICATED, 401 if way.name == "rest" else 0)


@pytest.mark.parametrize("kind", BAD_TOKENS)
@ways_of(PROTECTED)
def test_nobody_may_with_a_bad_token(way: Way, method: Method, owner: Account, issuer: Signer, kind: str) -> None:
    forge, code = BAD_TOKENS[kind]

    result = way.try_call(method, owner, forge(owner, issuer))

    assert (result.code, result.http) == (code, _http(code) if way.name == "rest" else 0)


@ways_of([method for method in PROTECTED if method.scope])
def test_the_owner_may_not_without_the_scope(way: Way, method: Method, owner: Account, issuer: Signer) -> None:
    scopes = set(claims_of(owner)["scope"].split()) - {method.scope}
    lacking = issuer.token(**claims_of(owner) | {"scope": " ".join(sorted(scopes))})

    result = way.try_call(method, owner, lacking)

    assert (result.code, result.reason) == (PERMISSION_DENIED, "SCOPE_MISSING")


@ways_of(ABOUT_A_RESOURCE)
def test_a_resource_of_another_user_looks_like_one_that_does_not_exist(
    way: Way, method: Method, owner: Account, other: Account
) -> None:
    given = owner.fitting(method)
    [(name, theirs)] = [(name, value) for name, value in given.items() if name in RESOURCE_IDS]
    missing = "0198c0de-0000-7000-8000-000000000000" + theirs[len(owner.id) :]  # the slot of an occurrence
    before = snapshot(owner, given)

    foreign = way.client(method).call(method, valid_request(method, given), other.token)
    nothing = way.client(method).call(method, valid_request(method, {**given, name: missing}), other.token)

    assert foreign.code == nothing.code == NOT_FOUND
    assert foreign.message == nothing.message.replace(missing, theirs)
    assert foreign.reason == nothing.reason
    assert snapshot(owner, given) == before


@ways_of(ABOUT_A_USER)
def test_another_user_sees_only_their_own(
    way: Way, method: Method, owner: Account, other: Account, theirs: set[str]
) -> None:
    unnamed = resource_ids(method, required=False) if method in ABOUT_A_RESOURCE else ()

    result = way.call(method, owner, other.token, **dict.fromkeys(unnamed, ""))

    assert result.ok, result
    assert [known for known in theirs if known in str(result.response)] == []


@ways_of(FOR_GUESTS)
def test_a_guest_may_what_is_for_guests(way: Way, method: Method, guest: Guest) -> None:
    assert (result := way.call(method, guest, guest.token)).ok, result


@ways_of(NOT_FOR_GUESTS)
def test_a_guest_may_nothing_else(way: Way, method: Method, owner: Account, guest: Guest) -> None:
    result = way.try_call(method, owner, guest.token)

    assert (result.code, result.reason) == (PERMISSION_DENIED, "GUEST_NOT_ALLOWED")
    assert result.http == (403 if way.name == "rest" else 0)


@ways_of([method for method in ABOUT_A_RESOURCE if method in FOR_GUESTS])
def test_users_and_guests_see_no_resource_of_one_another(
    way: Way, method: Method, owner: Account, guest: Guest
) -> None:
    for holder, caller in ((owner, guest), (guest, owner)):
        given = holder.fitting(method)
        before = snapshot(holder, given)

        assert way.client(method).call(method, valid_request(method, given), caller.token).code == NOT_FOUND
        assert snapshot(holder, given) == before


CALLS = [(method, caller) for method in INTERNAL for caller in sorted(method.callers)]
OTHER_SERVICES = [
    (method, name) for method in INTERNAL for name in sorted(registry.load().services) if name not in method.callers
]
SERVICE_CALLS = pytest.mark.parametrize(
    ("method", "caller"), CALLS, ids=[f"{caller}-{method.name}" for method, caller in CALLS]
)


def another_service(caller: str) -> str:
    """A registered service other than the caller."""
    return next(name for name in registry.load().services if name != caller)


BAD_SERVICE_TOKENS: dict[str, tuple[ForgeService, int]] = {
    "for another service": (lambda call: call.sign("other"), UNAUTHENTICATED),
    "expired": (lambda call: call.sign(call.callee, iat=now() - 100, exp=now() - 40), UNAUTHENTICATED),
    "from the future": (lambda call: call.sign(call.callee, iat=now() + 600, exp=now() + 660), UNAUTHENTICATED),
    "lives too long": (lambda call: call.sign(call.callee, exp=now() + 3600), UNAUTHENTICATED),
    "in the name of another service": (
        lambda call: call.sign(call.callee, iss=another_service(call.caller), sub=another_service(call.caller)),
        UNAUTHENTICATED,
    ),
    "signed by an unknown key": (
        lambda call: service_token(call.caller, call.callee, Ed25519PrivateKey.generate()),
        UNAUTHENTICATED,
    ),
    "signed by auth": (lambda call: service_token(call.caller, call.callee, call.issuer.key), UNAUTHENTICATED),
    "a user's": (lambda call: call.user.token, PERMISSION_DENIED),
    "a user's with a forged service claim": (
        lambda call: call.issuer.token(**claims_of(call.user), service=call.caller),
        PERMISSION_DENIED,
    ),
    "a user's that says it is the service's": (
        lambda call: call.issuer.token(iss=call.caller, sub=call.caller, aud=call.callee),
        PERMISSION_DENIED,
    ),
}


@pytest.fixture
def service_call(stack: Stack, owner: Account, issuer: Signer, method: Method, caller: str) -> ServiceCall:
    """What tokens of the caller are made from."""
    return ServiceCall(caller, method.owner, service_signer(stack, caller), owner, issuer)


@pytest.fixture
def direct(ways: dict[str, Way]) -> Way:
    """Straight to the service: the only way to an internal RPC."""
    return ways["direct"]


@SERVICE_CALLS
def test_a_service_that_the_policy_names_may(
    direct: Way, method: Method, owner: Account, service_call: ServiceCall
) -> None:
    assert (result := direct.call(method, owner, service_call.sign(method.owner))).ok, result


@pytest.mark.parametrize(
    ("method", "caller"), OTHER_SERVICES, ids=[f"{caller}-{method.name}" for method, caller in OTHER_SERVICES]
)
def test_a_service_that_the_policy_does_not_name_may_not(
    direct: Way, method: Method, owner: Account, service_call: ServiceCall
) -> None:
    result = direct.try_call(method, owner, service_call.sign(method.owner))

    known = service_call.caller in callers_of(method.owner)
    expected = (PERMISSION_DENIED, "CALLER_NOT_ALLOWED") if known else (UNAUTHENTICATED, "SERVICE_TOKEN_INVALID")
    assert (result.code, result.reason) == expected


@pytest.mark.parametrize("kind", BAD_SERVICE_TOKENS)
@SERVICE_CALLS
def test_no_service_may_with_a_bad_token(
    direct: Way, method: Method, owner: Account, service_call: ServiceCall, kind: str
) -> None:
    forge, code = BAD_SERVICE_TOKENS[kind]

    result = direct.try_call(method, owner, forge(service_call))

    assert (result.code, result.response) == (code, None)


@pytest.mark.parametrize("method", INTERNAL, ids=by_name)
def test_no_service_may_without_a_token(direct: Way, method: Method, owner: Account) -> None:
    assert direct.try_call(method, owner, None).code == UNAUTHENTICATED


@SERVICE_CALLS
def test_an_internal_rpc_does_not_exist_at_the_gateway(
    stack: Stack, method: Method, owner: Account, service_call: ServiceCall
) -> None:
    request = valid_request(method, owner.fitting(method))
    clients = Grpc(stack.gateway_target), GrpcWeb(stack.gateway_url), Rest(stack.gateway_url)
    rpc, web, rest = clients
    for token, code, status in (
        (owner.token, UNIMPLEMENTED, 404),
        (service_call.sign(method.owner), UNAUTHENTICATED, 401),
        (None, UNAUTHENTICATED, 401),
    ):
        assert rpc.call(method, request, token).code == code
        assert web.call(method, request, token).code == code
        assert rest.send("POST", method.grpc_path, token, json={"userId": owner.id}).http == status
    for client in clients:
        client.close()


@ways_of(PROTECTED)
def test_a_service_never_passes_for_a_user(way: Way, method: Method, stack: Stack, owner: Account) -> None:
    sign = service_signer(stack, "pomodoro")
    for claims in ({}, {**claims_of(owner), "exp": now() + 60, "iat": now()}):
        result = way.try_call(method, owner, sign(method.owner, **claims))
        assert (result.code, result.http) == (UNAUTHENTICATED, 401 if way.name == "rest" else 0)


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_websocket_does_not_open_with_a_bad_token(stack: Stack, owner: Account, issuer: Signer, kind: str) -> None:
    forge, code = BAD_TOKENS[kind]
    url = f"ws://{stack.gateway_target}/v1/realtime"

    with pytest.raises(InvalidStatus) as refused:
        connect(url, subprotocols=["focusmesh.v1", f"bearer.{forge(owner, issuer)}"])  # type: ignore[list-item]

    assert refused.value.response.status_code == _http(code)


def test_a_websocket_does_not_open_for_a_guest(stack: Stack, guest: Guest) -> None:
    url = f"ws://{stack.gateway_target}/v1/realtime"

    with pytest.raises(InvalidStatus) as refused:
        connect(url, subprotocols=["focusmesh.v1", f"bearer.{guest.token}"])  # type: ignore[list-item]

    assert refused.value.response.status_code == 403


def snapshot(owner: Account, given: dict[str, str]) -> dict[str, Message]:
    """The resources that a call is about, as their owner sees them at any time."""
    found = {}
    for name in RESOURCE_IDS & given.keys():
        shown_by, value = owner.shown_in.get(given[name], (name, given[name]))
        entity = camel_case(shown_by.removesuffix("_id"))
        if get := BY_NAME.get(f"Get{entity}"):
            found[name] = owner.call(get.name, request_class(get)(**{shown_by: value}))
        else:
            listing = BY_NAME[f"List{entity.removesuffix('y')}{'ies' if entity.endswith('y') else 's'}"]
            [shown] = [items for _, items in owner.call(listing.name, request_class(listing)()).ListFields()][:1]
            [found[name]] = [each for each in shown if each.id == value]
        leave_out(found[name], WHEN_READ)
    return found


def leave_out(message: Message, names: set[str]) -> None:
    """Clears these fields, however deep they are."""
    for field, value in message.ListFields():
        if field.name in names:
            message.ClearField(field.name)
        elif field.message_type:
            for each in _messages(field, value):
                leave_out(each, names)


def _messages(field: FieldDescriptor, value: Any) -> Iterable[Message]:
    """The messages in a field: its value, its elements, or the values of its map."""
    if field.message_type.GetOptions().map_entry:
        return [each for each in value.values() if isinstance(each, Message)]
    return value if field.is_repeated else [value]


def _http(code: int) -> int:
    return {UNAUTHENTICATED: 401, PERMISSION_DENIED: 403}[code]
