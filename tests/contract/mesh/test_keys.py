"""The keys that tokens are verified with, fetched from the auth service."""

from collections.abc import AsyncIterator

import grpc
import pytest
from focusmesh.auth.v1 import key_service_pb2_grpc as rpc
from redis.asyncio import Redis

from harness.waiting import until
from mesh.rpc import identity
from mesh.rpc.identity import PublishedKeys, Tokens
from mesh.rpc.revocations import Revocations
from mesh.runtime.errors import DependencyUnavailable, TokenInvalid
from mesh.runtime.ids import new_id
from tests.contract.mesh.key_service import Auth
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.ports import LOOPBACK
from tests.support.tokens import Signer


@pytest.fixture
def auth(signer: Signer) -> Auth:
    made = Auth()
    made.signers.append(signer)
    return made


@pytest.fixture
async def to_auth(auth: Auth) -> AsyncIterator[FaultProxy]:
    server = grpc.aio.server()
    rpc.add_KeyServiceServicer_to_server(auth, server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    async with fault_proxy(f"grpc://{LOOPBACK}:{port}", up=False) as made:
        yield made
    await server.stop(0)


@pytest.fixture
async def keys(to_auth: FaultProxy) -> AsyncIterator[PublishedKeys]:
    made = PublishedKeys(to_auth.target)
    made.start()
    yield made
    await made.close()


async def test_no_token_is_called_invalid_before_the_keys_are_known(keys: PublishedKeys, signer: Signer) -> None:
    with pytest.raises(DependencyUnavailable):
        await keys.find(signer.kid)
    assert not keys.ready


async def test_keys_are_there_soon_after_auth_is_however_long_it_was_away(
    keys: PublishedKeys, to_auth: FaultProxy, signer: Signer
) -> None:
    await to_auth.reset()
    await until(lambda: to_auth.resets >= 4, "it tried again and again")
    await to_auth.up()
    await until(lambda: keys.ready, "the keys are there", seconds=2)
    assert await keys.find(signer.kid) is not None


async def test_known_keys_go_on_to_serve_while_auth_is_away(
    keys: PublishedKeys, to_auth: FaultProxy, signer: Signer
) -> None:
    await to_auth.up()
    await until(lambda: keys.ready, "the keys are there")
    await to_auth.down()
    assert keys.ready
    assert await keys.find(signer.kid) is not None


async def test_a_key_that_is_new_is_found_when_it_is_asked_for(
    keys: PublishedKeys, to_auth: FaultProxy, auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_UNKNOWN_KEY_SECONDS", 0.0)
    await to_auth.up()
    await until(lambda: keys.ready, "the keys are there")
    auth.signers.append(Signer(kid="next"))
    assert await keys.find("next") is not None


async def test_unknown_keys_cost_auth_nothing(keys: PublishedKeys, to_auth: FaultProxy, auth: Auth) -> None:
    await to_auth.up()
    await until(lambda: keys.ready, "the keys are there")
    for number in range(100):
        assert await keys.find(f"made up {number}") is None
    assert auth.asked <= 2


async def test_a_token_that_was_verified_before_falls_with_its_key(
    keys: PublishedKeys, to_auth: FaultProxy, auth: Auth, signer: Signer, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PublishedKeys, "shortest_wait", 0.05)
    monkeypatch.setattr(PublishedKeys, "longest_wait", 0.05)
    await keys.close()
    keys.start()  # the fixture's start has read the longer wait
    known = Revocations(Redis.from_url(valkey))
    known.start()
    await to_auth.up()
    await until(lambda: keys.ready and known.ready, "the keys are there")
    tokens = Tokens(keys, known, issuer="https://auth.focusmesh", audience="focusmesh")
    bearer = {"authorization": f"Bearer {signer.token()}"}
    await tokens.verify(bearer)
    assert tokens.cached(bearer) is not None
    assert await tokens.verify({"authorization": f"BEARER  {signer.token(sub=new_id())}"})
    auth.signers[:] = [Signer(kid="next")]
    await until(lambda: tokens.cached(bearer) is None, "the token is no longer cached")
    with pytest.raises(TokenInvalid):
        await tokens.verify(bearer)
    await known.close()
