"""UserService: the accounts and settings of callers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import grpc
import orjson
import pytest
from focusmesh.auth.v1 import session_service_pb2_grpc, user_pb2
from focusmesh.auth.v1 import user_service_pb2 as pb
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from tests.contract.auth.requests import PASSWORD, Account, login, refused
from tests.support.round_trips import every_field, lost

pytestmark = pytest.mark.asyncio(loop_scope="module")

SignIn = Callable[..., Awaitable[Account]]
Register = Callable[..., Awaitable[user_pb2.User]]
ALREADY, INVALID, DENIED, FAILED, ABORTED = (
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
)


def registration(**fields: object) -> pb.RegisterRequest:
    return pb.RegisterRequest(**{"email": f"{new_id()}@example.com", "password": PASSWORD, **fields})  # type: ignore[arg-type]


async def close(db: Database, user_id: str) -> None:
    async with db.connection() as connection:
        await connection.execute("UPDATE users SET is_active = false, updated_at = now() WHERE id = %s", (user_id,))


async def events_of(db: Database, user_id: str) -> list[dict[str, object]]:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s ORDER BY seq", (user_id,))
        events = [orjson.loads(value) for (value,) in await cursor.fetchall()]
    return [event for event in events if event["subject"] == user_id]


async def test_a_registration_returns_the_account(users: UserServiceStub) -> None:
    email = f"Ann.{new_id()}@Example.com"
    response = await users.Register(
        registration(email=email, name="Ann", time_zone="Asia/Kathmandu", day_start_minutes=1439)
    )
    user = response.user
    assert UUID(user.id).version == 7
    assert (user.email, user.name, user.time_zone, user.day_start_minutes) == (email, "Ann", "Asia/Kathmandu", 1439)
    assert user.etag
    assert user.create_time == user.update_time


async def test_every_field_of_an_account_and_of_its_settings_is_stored(
    users: UserServiceStub, signed_in: SignIn
) -> None:
    new = every_field(pb.RegisterRequest, password=PASSWORD, time_zone="Asia/Kathmandu")
    user = (await users.Register(new)).user
    assert lost(new, user, but=frozenset({"password"})) == []
    account = await signed_in()
    update = every_field(pb.UpdateMeRequest, time_zone="Asia/Kathmandu")
    await users.UpdateMe(update, metadata=account.bearer)
    assert lost(update, (await users.GetMe(pb.GetMeRequest(), metadata=account.bearer)).user) == []
    change = every_field(pb.UpdateSettingsRequest)
    await users.UpdateSettings(change, metadata=account.bearer)
    settings = (await users.GetSettings(pb.GetSettingsRequest(), metadata=account.bearer)).settings
    assert lost(change, settings) == []


async def test_what_is_not_given_has_its_documented_default(a_user: Register) -> None:
    user = await a_user()
    assert not user.HasField("name")
    assert (user.time_zone, user.day_start_minutes) == ("UTC", 0)


async def test_a_registration_is_published_without_the_address(a_user: Register, db: Database) -> None:
    user = await a_user(name="Ann", time_zone="Europe/Berlin", day_start_minutes=240)
    [event] = await events_of(db, user.id)
    data = event["data"]
    assert isinstance(data, dict)
    assert (event["type"], event["source"], event["subject"]) == ("user-registered", "/focusmesh/auth", user.id)
    assert (data["user_id"], data["schema_version"]) == (user.id, "1.0")
    assert data["payload"] == {
        "name": "Ann",
        "time_zone": "Europe/Berlin",
        "day_start_minutes": 240,
        "week_start": "monday",
    }
    assert user.email not in orjson.dumps(event).decode()


async def test_the_same_registration_sent_twice_gets_one_response_and_one_account(
    users: UserServiceStub, db: Database
) -> None:
    request = registration(request_id=str(uuid4()))
    first, second = await users.Register(request), await users.Register(request)
    assert first == second
    assert len(await events_of(db, first.user.id)) == 1


async def test_a_replay_does_not_look_at_the_password_because_none_is_stored(users: UserServiceStub) -> None:
    request = registration(request_id=str(uuid4()))
    first = await users.Register(request)
    request.password = "another password than before"
    assert await users.Register(request) == first


async def test_a_request_id_of_another_registration_is_refused(users: UserServiceStub) -> None:
    request = registration(request_id=str(uuid4()))
    await users.Register(request)
    request.email = f"{new_id()}@example.com"
    await _expect_reused(users, request)


async def _expect_reused(users: UserServiceStub, request: pb.RegisterRequest) -> None:
    # The address is free, so the registration gets as far as its stored response.
    with refused("REQUEST_ID_REUSED", FAILED, "focusmesh", request_id=request.request_id):
        await users.Register(request)


async def test_an_address_in_another_case_is_the_same_address(users: UserServiceStub, a_user: Register) -> None:
    user = await a_user(email=f"ann.{new_id()}@example.com")
    with refused("EMAIL_TAKEN", ALREADY):
        await users.Register(registration(email=user.email.upper()))


async def test_of_many_who_register_one_address_at_once_exactly_one_wins(users: UserServiceStub, db: Database) -> None:
    local = new_id()

    requests = [registration(email=f"{local}@{'E' if index % 2 else 'e'}xample.com") for index in range(12)]
    responses = await asyncio.gather(*map(users.Register, requests), return_exceptions=True)
    winners = [response.user.id for response in responses if isinstance(response, pb.RegisterResponse)]
    losers = [response.code() for response in responses if isinstance(response, grpc.aio.AioRpcError)]
    assert (len(winners), losers) == (1, [ALREADY] * 11)
    assert len(await events_of(db, winners[0])) == 1


async def test_of_many_identical_registrations_at_once_all_get_the_one_response(users: UserServiceStub) -> None:
    request = registration(request_id=str(uuid4()))
    responses = await asyncio.gather(*(users.Register(request) for _ in range(8)))
    assert {response.user.id for response in responses} == {responses[0].user.id}


@pytest.mark.parametrize("password", ["Password123!", "qwertyuiop", "aaaaaaaa"])
async def test_a_common_password_is_refused_and_names_its_field(users: UserServiceStub, password: str) -> None:
    with refused("PASSWORD_TOO_COMMON", INVALID) as error:
        await users.Register(registration(password=password))
    assert error.fields == ["password"]


@pytest.mark.parametrize("time_zone", ["Mars/Olympus", "europe/berlin", "+01:00"])
async def test_an_unknown_time_zone_is_refused_by_name(
    users: UserServiceStub, signed_in: SignIn, time_zone: str
) -> None:
    with refused("TIME_ZONE_UNKNOWN", INVALID, time_zone=time_zone) as error:
        await users.Register(registration(time_zone=time_zone))
    assert error.fields == ["time_zone"]
    account = await signed_in()
    with refused("TIME_ZONE_UNKNOWN", INVALID, time_zone=time_zone):
        await users.UpdateMe(
            pb.UpdateMeRequest(update_mask=FieldMask(paths=["time_zone"]), time_zone=time_zone), metadata=account.bearer
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", "x" * 250 + "@example.com"),
        ("password", "1234567"),
        ("password", "x" * 129),
        ("name", "x" * 101),
        ("name", "An\0n"),
        ("time_zone", "x" * 65),
        ("day_start_minutes", -1),
        ("day_start_minutes", 1440),
        ("request_id", "not-a-uuid"),
    ],
)
async def test_a_value_out_of_its_bounds_is_refused_and_names_its_field(
    users: UserServiceStub, field: str, value: object
) -> None:
    with refused("INVALID_REQUEST", INVALID, "focusmesh") as error:
        await users.Register(registration(**{field: value}))
    assert error.fields == [field]


async def test_a_caller_reads_their_own_account(users: UserServiceStub, signed_in: SignIn) -> None:
    ann, bea = await signed_in(name="Ann"), await signed_in(name="Bea")
    assert (await users.GetMe(pb.GetMeRequest(), metadata=ann.bearer)).user == ann.user
    assert (await users.GetMe(pb.GetMeRequest(), metadata=bea.bearer)).user == bea.user


async def test_a_change_is_stored_and_published(users: UserServiceStub, signed_in: SignIn, db: Database) -> None:
    account = await signed_in(name="Ann")
    request = pb.UpdateMeRequest(
        update_mask=FieldMask(paths=["name", "time_zone", "day_start_minutes"]),
        etag=account.user.etag,
        name="Bea",
        time_zone="America/New_York",
        day_start_minutes=300,
    )
    user = (await users.UpdateMe(request, metadata=account.bearer)).user
    assert (user.name, user.time_zone, user.day_start_minutes) == ("Bea", "America/New_York", 300)
    assert user.etag != account.user.etag
    assert (await users.GetMe(pb.GetMeRequest(), metadata=account.bearer)).user == user
    registered, updated = await events_of(db, user.id)
    assert (registered["type"], updated["type"]) == ("user-registered", "user-updated")
    assert (registered["sequence"], updated["sequence"]) == ("0" * 19 + "1", "0" * 19 + "2")


async def test_a_field_that_is_named_and_not_set_goes_back_to_its_default(
    users: UserServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in(name="Ann", time_zone="Asia/Tokyo", day_start_minutes=90)
    request = pb.UpdateMeRequest(update_mask=FieldMask(paths=["name", "time_zone", "day_start_minutes"]))
    user = (await users.UpdateMe(request, metadata=account.bearer)).user
    assert not user.HasField("name")
    assert (user.time_zone, user.day_start_minutes) == ("UTC", 0)


async def test_a_change_to_the_same_values_changes_and_publishes_nothing(
    users: UserServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in(name="Ann")
    request = pb.UpdateMeRequest(update_mask=FieldMask(paths=["name"]), name="Ann")
    assert (await users.UpdateMe(request, metadata=account.bearer)).user == account.user
    assert len(await events_of(db, account.user.id)) == 1


async def test_a_field_that_is_set_and_not_named_is_refused(users: UserServiceStub, signed_in: SignIn) -> None:
    account = await signed_in()
    with refused("FIELD_NOT_IN_MASK", INVALID, "focusmesh", field="name"):
        await users.UpdateMe(
            pb.UpdateMeRequest(update_mask=FieldMask(paths=["time_zone"]), name="Ann"), metadata=account.bearer
        )
    with refused("FIELD_NOT_IN_MASK", INVALID, "focusmesh", field="theme"):
        await users.UpdateSettings(
            pb.UpdateSettingsRequest(update_mask=FieldMask(paths=["long_break_interval"]), theme=user_pb2.THEME_DARK),
            metadata=account.bearer,
        )


@pytest.mark.parametrize("paths", [[], ["email"], ["password_hash"], ["name", "version"]])
async def test_a_mask_that_is_empty_or_names_something_else_is_refused(
    users: UserServiceStub, signed_in: SignIn, paths: list[str]
) -> None:
    account = await signed_in()
    with refused("INVALID_REQUEST", INVALID, "focusmesh") as error:
        await users.UpdateMe(pb.UpdateMeRequest(update_mask=FieldMask(paths=paths)), metadata=account.bearer)
    assert error.fields == ["update_mask"]


async def test_a_change_based_on_an_old_version_is_refused_with_the_current_etag(
    users: UserServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in()
    request = pb.UpdateMeRequest(update_mask=FieldMask(paths=["name"]), etag=account.user.etag, name="Bea")
    current = (await users.UpdateMe(request, metadata=account.bearer)).user.etag
    request.name = "Cleo"
    with refused("VERSION_CONFLICT", ABORTED, "focusmesh", etag=current):
        await users.UpdateMe(request, metadata=account.bearer)


async def test_concurrent_changes_all_take_effect_one_after_the_other(
    users: UserServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()

    async def change(minutes: int) -> str:
        request = pb.UpdateMeRequest(update_mask=FieldMask(paths=["day_start_minutes"]), day_start_minutes=minutes)
        return (await users.UpdateMe(request, metadata=account.bearer)).user.etag

    etags = await asyncio.gather(*map(change, range(1, 6)))
    assert len(set(etags)) == 5
    assert [event["sequence"] for event in await events_of(db, account.user.id)] == [f"{n:020d}" for n in range(1, 7)]


async def test_a_repeated_change_gets_the_stored_response(users: UserServiceStub, signed_in: SignIn) -> None:
    account = await signed_in()
    request = pb.UpdateMeRequest(
        update_mask=FieldMask(paths=["name"]), etag=account.user.etag, name="Bea", request_id=str(uuid4())
    )
    first = await users.UpdateMe(request, metadata=account.bearer)
    assert await users.UpdateMe(request, metadata=account.bearer) == first
    request.name = "Cleo"
    with refused("REQUEST_ID_REUSED", FAILED, "focusmesh"):
        await users.UpdateMe(request, metadata=account.bearer)


async def test_settings_begin_as_documented_and_change_as_requested(users: UserServiceStub, signed_in: SignIn) -> None:
    account = await signed_in()
    first = (await users.GetSettings(pb.GetSettingsRequest(), metadata=account.bearer)).settings
    assert (
        first.default_pomodoro_minutes,
        first.default_short_break_minutes,
        first.default_long_break_minutes,
        first.long_break_interval,
        first.theme,
        first.auto_start_breaks,
        first.auto_start_focus,
        first.week_start,
    ) == (25, 5, 15, 4, user_pb2.THEME_LIGHT, True, False, user_pb2.WEEK_START_MONDAY)
    request = pb.UpdateSettingsRequest(
        update_mask=FieldMask(paths=["default_pomodoro_minutes", "theme", "auto_start_focus"]),
        etag=first.etag,
        default_pomodoro_minutes=50,
        theme=user_pb2.THEME_SYSTEM,
        auto_start_focus=True,
    )
    changed = (await users.UpdateSettings(request, metadata=account.bearer)).settings
    assert (changed.default_pomodoro_minutes, changed.theme, changed.long_break_interval) == (
        50,
        user_pb2.THEME_SYSTEM,
        4,
    )
    assert (changed.auto_start_breaks, changed.auto_start_focus) == (True, True)
    assert (await users.GetSettings(pb.GetSettingsRequest(), metadata=account.bearer)).settings == changed
    with refused("VERSION_CONFLICT", ABORTED, "focusmesh", etag=changed.etag):
        await users.UpdateSettings(request, metadata=account.bearer)


@pytest.mark.parametrize("unset", [{}, {"theme": 0, "week_start": 0}], ids=["left out", "zero"])
async def test_a_setting_that_is_named_and_not_set_goes_back_to_its_first_value(
    users: UserServiceStub, signed_in: SignIn, unset: dict[str, Any]
) -> None:
    account, mask = await signed_in(), FieldMask(paths=["long_break_interval", "theme", "week_start"])
    changed = {"long_break_interval": 9, "theme": user_pb2.THEME_DARK, "week_start": user_pb2.WEEK_START_SUNDAY}
    for values, expected in (
        (changed, (9, user_pb2.THEME_DARK, user_pb2.WEEK_START_SUNDAY)),
        (unset, (4, user_pb2.THEME_LIGHT, user_pb2.WEEK_START_MONDAY)),
    ):
        request = pb.UpdateSettingsRequest(update_mask=mask, **values)
        settings = (await users.UpdateSettings(request, metadata=account.bearer)).settings
        assert (settings.long_break_interval, settings.theme, settings.week_start) == expected


async def test_a_repeated_change_of_settings_gets_the_stored_response(
    users: UserServiceStub, signed_in: SignIn
) -> None:
    account = await signed_in()
    request = pb.UpdateSettingsRequest(
        update_mask=FieldMask(paths=["theme"]), theme=user_pb2.THEME_DARK, etag="v1", request_id=str(uuid4())
    )
    first = await users.UpdateSettings(request, metadata=account.bearer)
    assert await users.UpdateSettings(request, metadata=account.bearer) == first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("default_pomodoro_minutes", 0),
        ("default_pomodoro_minutes", 181),
        ("default_short_break_minutes", 61),
        ("default_long_break_minutes", 121),
        ("long_break_interval", 13),
        ("theme", 9),
        ("week_start", 9),
    ],
)
async def test_a_setting_out_of_its_bounds_is_refused_and_names_its_field(
    users: UserServiceStub, signed_in: SignIn, field: str, value: int
) -> None:
    account = await signed_in()
    request = pb.UpdateSettingsRequest(update_mask=FieldMask(paths=[field]), **{field: value})  # type: ignore[arg-type]
    with refused("INVALID_REQUEST", INVALID, "focusmesh") as error:
        await users.UpdateSettings(request, metadata=account.bearer)
    assert error.fields == [field]


async def test_every_call_of_a_closed_account_says_that_it_is_closed(
    users: UserServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in()
    await close(db, account.user.id)
    name, theme = FieldMask(paths=["name"]), FieldMask(paths=["theme"])
    for call in (
        lambda: users.GetMe(pb.GetMeRequest(), metadata=account.bearer),
        lambda: users.UpdateMe(pb.UpdateMeRequest(update_mask=name, name="Ann"), metadata=account.bearer),
        lambda: users.GetSettings(pb.GetSettingsRequest(), metadata=account.bearer),
        lambda: users.UpdateSettings(pb.UpdateSettingsRequest(update_mask=theme), metadata=account.bearer),
    ):
        with refused("USER_INACTIVE", DENIED):
            await call()


async def test_every_call_of_a_user_needs_a_token(users: UserServiceStub) -> None:
    with refused("TOKEN_MISSING", grpc.StatusCode.UNAUTHENTICATED, "focusmesh"):
        await users.GetMe(pb.GetMeRequest())


async def test_a_refused_registration_leaves_the_address_free(
    users: UserServiceStub, sessions: session_service_pb2_grpc.SessionServiceStub
) -> None:
    email = f"{new_id()}@example.com"
    with refused("TIME_ZONE_UNKNOWN", INVALID):
        await users.Register(registration(email=email, time_zone="Nowhere"))
    await users.Register(registration(email=email))
    assert (await login(sessions, email)).access_token


async def test_another_week_start_is_published_with_the_next_version_of_the_account(
    users: UserServiceStub, signed_in: SignIn, db: Database
) -> None:
    account = await signed_in(name="Ann", time_zone="Asia/Tokyo")
    request = pb.UpdateSettingsRequest(
        update_mask=FieldMask(paths=["week_start"]), week_start=user_pb2.WEEK_START_SUNDAY, request_id=new_id()
    )
    changed = await users.UpdateSettings(request, metadata=account.bearer)
    assert changed.settings.week_start == user_pb2.WEEK_START_SUNDAY
    assert await users.UpdateSettings(request, metadata=account.bearer) == changed
    same = pb.UpdateSettingsRequest(update_mask=FieldMask(paths=["theme"]), theme=user_pb2.THEME_DARK)
    await users.UpdateSettings(same, metadata=account.bearer)
    rename = pb.UpdateMeRequest(update_mask=FieldMask(paths=["name"]), name="Anna")
    await users.UpdateMe(rename, metadata=account.bearer)
    events = await events_of(db, account.user.id)
    shown = [(event["type"], event["sequence"][-2:], event["data"]["payload"]["week_start"]) for event in events]  # type: ignore[index]  # JSON
    assert shown == [
        ("user-registered", "01", "monday"),
        ("user-updated", "02", "sunday"),
        ("user-updated", "03", "sunday"),
    ]
