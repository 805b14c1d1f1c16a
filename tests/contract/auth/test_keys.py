"""KeyService: what is published, and how keys are changed without a refused token."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.auth.v1 import key_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2
from focusmesh.auth.v1.key_service_pb2_grpc import KeyServiceStub
from focusmesh.auth.v1.session_pb2 import Tokens
from focusmesh.auth.v1.session_service_pb2_grpc import SessionServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub

from mesh.rpc.identity import public_key
from mesh.runtime.ids import new_id
from services.auth.settings import Settings
from tests.contract.auth.requests import PASSWORD, Account, bearer, login, private_pem, process, public_pem, refused
from tests.support.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SignIn = Callable[..., Awaitable[Account]]


def a_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Files of a new private key and its public key."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(private_pem(key))
    public.write_bytes(public_pem(key.public_key()))
    return private, public


async def test_the_published_key_verifies_the_tokens(keys: KeyServiceStub, signed_in: SignIn) -> None:
    [key] = (await keys.GetJwks(pb.GetJwksRequest())).keys
    assert (key.kty, key.crv, key.use, key.alg) == ("OKP", "Ed25519", "sig", "EdDSA")
    account = await signed_in()
    assert jwt.get_unverified_header(account.tokens.access_token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}
    claims = jwt.decode(
        account.tokens.access_token,
        public_key(key.x),
        algorithms=["EdDSA"],
        audience="focusmesh",
        issuer="https://auth.focusmesh",
    )
    assert claims["sub"] == account.user.id
    assert claims["exp"] - claims["iat"] == 600
    assert claims["exp"] == account.tokens.access_token_expire_time.seconds


async def test_a_key_is_published_before_it_signs_and_kept_while_its_tokens_live(
    auth_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (old, old_public), (following, following_public) = a_key(tmp_path, "old"), a_key(tmp_path, "following")
    email = f"{new_id()}@example.com"
    kids: list[list[str]] = []
    issued: list[Tokens] = []
    for signs, published in ((old, ""), (old, following_public), (following, old_public)):
        settings = auth_settings(signing_key_file=str(signs), published_key_files=str(published))
        async with serving(process(settings)) as channel:
            users = UserServiceStub(channel)
            if not issued:
                await users.Register(user_service_pb2.RegisterRequest(email=email, password=PASSWORD))
            issued.append(await login(SessionServiceStub(channel), email))
            for tokens in issued:
                response = await users.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(tokens))
                assert response.user.email == email
            kids.append([key.kid for key in (await KeyServiceStub(channel).GetJwks(pb.GetJwksRequest())).keys])
    first, second = kids[1]
    assert kids == [[first], [first, second], [second, first]]
    signed_by = [jwt.get_unverified_header(tokens.access_token)["kid"] for tokens in issued]
    assert signed_by == [first, first, second]


async def test_a_token_of_a_key_that_is_not_published_is_refused(
    auth_settings: Callable[..., Settings], users: UserServiceStub, signed_in: SignIn, tmp_path: Path
) -> None:
    account = await signed_in()
    foreign, _ = a_key(tmp_path, "foreign")
    async with serving(process(auth_settings(signing_key_file=str(foreign)))) as channel:
        tokens = await login(SessionServiceStub(channel), account.user.email)
    with refused("TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED, "focusmesh"):
        await users.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(tokens))
