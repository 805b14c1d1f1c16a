"""Bad input of every kind to every RPC: a clear error that names the field, none that is internal, nothing written."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import psycopg
import pytest
from focusmesh.realtime.v1 import realtime_service_pb2
from focusmesh.todo.v1 import task_service_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from psycopg import sql

from contract.methods import Method
from harness.clients import SECONDS, CallResult, Grpc, Rest, rest_request
from harness.mails import Mails
from harness.owners import Account
from harness.rpcs import BY_NAME, EXPOSED, descriptor, request_class
from harness.valid_requests import put, valid_request, valid_value
from harness.waiting import wait_until
from stack.database import MAIN
from stack.registry import load
from stack.stack import Stack
from tests.e2e.bad_input import Case, cases, wrong_values
from tests.support.stack_keys import service_signer

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]
OUR_FAULT = {grpc.StatusCode[name].value[0] for name in ("UNKNOWN", "INTERNAL", "DATA_LOSS", "UNIMPLEMENTED")}
MIB = 1 << 20
Given = Callable[[Method], dict[str, Any]]
Digest = Callable[[], Mapping[str, Any]]
EVERY_CASE = [case for method in EXPOSED for case in cases(method)]
REFUSED = [case for case in EVERY_CASE if not case.accepted]
ACCEPTED = [case for case in EVERY_CASE if case.accepted]
WITH_BODY = [method for method in EXPOSED if method.binding and method.binding.has_body]
PAGED = [method for method in EXPOSED if "page_token" in request_class(method).DESCRIPTOR.fields_by_name]
PAGE_FIELDS = {"page_size", "page_token"}
FILTERS = [
    (method, field)
    for method in PAGED
    for field in request_class(method).DESCRIPTOR.fields
    if field.name not in PAGE_FIELDS
]
WRITING = {method.owner for method in EXPOSED if not method.repeatable}
"""Services whose RPCs write; the tables of the others follow events, shortly after an accepted request."""
HISTORY_FOLLOWED = """
    SELECT FROM pomodoro.sessions LEFT JOIN history.aggregate_versions AS known
        ON known.source = 'pomodoro' AND known.subject = sessions.id::text
    WHERE known.version IS DISTINCT FROM sessions.version LIMIT 1"""
"""Finds a session of which history has not seen the newest event: its tables follow soon."""
TASKS_FOLLOWED = """
    SELECT FROM todo.tasks LEFT JOIN recurrence.aggregate_versions AS known
        ON known.source = 'todo' AND known.subject = tasks.id::text
    WHERE known.version IS DISTINCT FROM tasks.version
    UNION ALL SELECT FROM recurrence.plans LIMIT 1"""
"""Finds a task of which recurrence has not seen the newest event, and what it has yet to make of one."""
EVENTS_FOLLOWED = """
    SELECT FROM calendar.events LEFT JOIN history.aggregate_versions AS known
        ON known.source = 'calendar' AND known.subject = events.id::text
    WHERE known.version IS DISTINCT FROM events.version AND events.subscription_id IS NULL LIMIT 1"""
"""Finds an event of which history has not seen the newest message."""
USERS_NOTIFIED = """
    SELECT FROM todo.tasks LEFT JOIN notification.aggregate_versions AS known
        ON known.source = 'todo' AND known.subject = tasks.id::text
    WHERE known.version IS DISTINCT FROM tasks.version
    UNION ALL SELECT FROM notification.reminders
        WHERE user_id = %(account)s::uuid AND fire_at < now() + interval '5 seconds'
    UNION ALL SELECT FROM notification.notifications
        WHERE user_id = %(account)s::uuid AND (next_attempt_at < now() + interval '5 seconds' OR leased)
    LIMIT 1"""
"""Finds a task of which notification has not seen the newest event, and what it has yet to send to the account."""
ASKED_FOR = "SELECT FROM auth.mail_requests"
"""Finds a request for a mail that has not been answered yet."""
COLUMNS = """
    SELECT nspname, relname, array_agg(attname::text) FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0
        AND nspname = ANY(%s) AND relname <> ALL(%s)
    GROUP BY nspname, relname"""
"""Every table with its columns; a partition is read with the table that it is one of."""
NOT_WRITTEN_BY_CALLS = ["outbox", "inbox", "aggregate_versions", "parked", "alembic_version"]


@pytest.fixture(scope="module")
def account(stack: Stack) -> Account:
    """The account whose resources must not change."""
    return Account(Rest(stack.gateway_url), Mails(stack, service_signer(stack, "notification")))


@pytest.fixture(scope="module")
def rest(stack: Stack) -> Iterator[Rest]:
    """REST through the gateway."""
    client = Rest(stack.gateway_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def rpc(stack: Stack) -> Iterator[Grpc]:
    """gRPC through the gateway."""
    client = Grpc(stack.gateway_target)
    yield client
    client.close()


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """The database, seen as its administrator."""
    with psycopg.connect(stack.cluster.administrator_url(MAIN), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def given(account: Account) -> Given:
    """Resources for valid requests, made before any test looks at the tables; refused requests do not change them."""
    made = {method.full_name: account.fitting(method) for method in EXPOSED}
    return lambda method: made[method.full_name]


@pytest.fixture(scope="module")
def digest(database: psycopg.Connection[Any], account: Account) -> Digest:
    """Digests every table that requests write to at once: how many rows there are, and a sum over them.

    Only what the account owns counts, but for accounts themselves: the intervals of others end at any time.
    """
    schemas = [service.schema for service in load().with_schema() if service.name in WRITING]
    tables = database.execute(COLUMNS, (schemas, NOT_WRITTEN_BY_CALLS)).fetchall()
    assert {schema for schema, *_ in tables} == set(schemas)
    statement = sql.SQL(" UNION ALL ").join(digest_of(*table) for table in tables)
    return lambda: {
        name: (count, total)
        for name, count, total in database.execute(statement, {"account": account.id}, prepare=True).fetchall()
    }


def digest_of(schema: str, table: str, columns: list[str]) -> sql.Composed:
    # The mails of others get their tokens when they are sent, at any time; that one is used must not happen.
    row = sql.SQL("(t.id, t.closed_at)" if table == "mails" else "t")
    statement = sql.SQL("SELECT {}::text, count(*), coalesce(sum(hashtext({}::text)::bigint), 0) FROM {} t").format(
        f"{schema}.{table}", row, sql.Identifier(schema, table)
    )
    if schema == "auth":
        return statement
    if "user_id" in columns:
        return statement + sql.SQL(" WHERE user_id = %(account)s::uuid")
    if "notification_id" in columns:
        return statement + sql.SQL(
            " WHERE notification_id IN (SELECT id FROM notification.notifications WHERE user_id = %(account)s::uuid)"
        )
    if "session_id" in columns:
        return statement + sql.SQL(
            " WHERE session_id IN (SELECT id FROM pomodoro.sessions WHERE user_id = %(account)s::uuid)"
        )
    return statement


@pytest.fixture(scope="module")
def untouched() -> list[Mapping[str, Any]]:
    """The digest after the last test, if nothing was written by it; else empty."""
    return []


@pytest.fixture(autouse=True)
def _forget_what_was_before(request: pytest.FixtureRequest, untouched: list[Mapping[str, Any]]) -> None:
    if "nothing_written" not in request.fixturenames:
        untouched.clear()


@pytest.fixture
def nothing_written(
    database: psycopg.Connection[Any],
    account: Account,
    given: object,
    digest: Digest,
    untouched: list[Mapping[str, Any]],
) -> Iterator[None]:
    """Fails when any row of accounts, tasks or sessions is another one after the test.

    What an earlier test wrote has to be followed first. After one that wrote nothing only the account may be notified.
    """
    own = {"account": account.id}
    if not untouched or database.execute(USERS_NOTIFIED, own).fetchone() is not None:
        untouched.clear()
        wait_until(lambda: database.execute(HISTORY_FOLLOWED).fetchone() is None, "history has followed every session")
        wait_until(lambda: database.execute(TASKS_FOLLOWED).fetchone() is None, "recurrence has followed every task")
        wait_until(lambda: database.execute(EVENTS_FOLLOWED).fetchone() is None, "history has followed every event")
        wait_until(lambda: database.execute(USERS_NOTIFIED, own).fetchone() is None, "the account is notified")
        wait_until(lambda: database.execute(ASKED_FOR).fetchone() is None, "every request for a mail is answered")
        untouched.append(digest())
    before = untouched.pop()
    yield
    after = digest()
    assert after == before
    untouched.append(after)


def test_a_write_is_seen(digest: Digest, account: Account) -> None:
    before = digest()
    account.task()
    assert digest() != before


def in_json(path: str) -> str:
    """The path of a field as REST callers write it."""
    return re.sub("_([a-z0-9])", lambda found: found[1].upper(), path)


def names_the_field(response: CallResult, path: str) -> bool:
    path = in_json(path) if response.http else path
    found = response.detail(error_details_pb2.BadRequest).field_violations
    return any(
        each.field == path or each.field.startswith((f"{path}.", f"{path}[")) for each in found if each.description
    )


def request_of(case: Case, given: Mapping[str, Any]) -> Message:
    request = valid_request(case.method, given)
    case.change(request)
    return request


def can_be_said_by_rest(case: Case, request: Message) -> bool:
    """Not every bad message is good JSON, and an empty variable makes another path."""
    binding = case.method.binding
    if binding is None or (f"{{{case.field}}}" in binding.template and not getattr(request, case.field)):
        return False
    try:
        json_format.MessageToDict(request)
    except (ValueError, json_format.Error):
        return False
    return True


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
@pytest.mark.usefixtures("nothing_written")
def test_what_breaks_a_rule_is_refused_and_named(
    case: Case, rest: Rest, rpc: Grpc, account: Account, given: Given
) -> None:
    request = request_of(case, given(case.method))

    responses = [rpc.call(case.method, request, account.token)]
    if can_be_said_by_rest(case, request):
        responses.append(rest.call(case.method, request, account.token))

    for response in responses:
        assert (response.code, response.http) in {(INVALID_ARGUMENT, 0), (INVALID_ARGUMENT, 400)}, response
        assert response.message
        if response.reason == "MALFORMED_REQUEST":  # the gateway itself knows enums, and the types of fields
            assert {case.field.partition("[")[0], in_json(case.field).partition("[")[0]} & set(_words(response.message))
        else:
            assert (response.reason, response.domain) == ("INVALID_REQUEST", "focusmesh"), response
            assert names_the_field(response, case.field), response


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_just_keeps_a_rule_is_not_refused_for_it(case: Case, rest: Rest, rpc: Grpc, account: Account) -> None:
    for client in (rpc, rest):
        request = request_of(case, account.fitting(case.method))
        if client is rest and not can_be_said_by_rest(case, request):
            continue
        result = client.call(case.method, request, account.token)
        assert result.code not in OUR_FAULT, result
        if not result.ok and result.reason == "INVALID_REQUEST":
            assert not names_the_field(result, case.field), result


def wrong_type_cases() -> Iterator[tuple[Method, FieldDescriptor, Any]]:
    """Fields with values of the wrong JSON type; what comes in a path or query is text, so it has fewer.

    A body of any type is no JSON, so it has none.
    """
    for method in EXPOSED:
        if method.binding is None:
            continue
        for field in descriptor(method).input_type.fields:
            if field.name == method.binding.body:
                continue
            in_body = method.binding.has_body and f"{{{field.name}}}" not in method.binding.template
            for value in wrong_values(field):
                if (in_body and not field.is_repeated) or (not in_body and isinstance(value, str)):
                    yield method, field, value


WRONG_TYPES = list(wrong_type_cases())


@pytest.mark.parametrize(
    ("method", "field", "value"),
    WRONG_TYPES,
    ids=[f"{method.name}-{field.name}-{value}" for method, field, value in WRONG_TYPES],
)
@pytest.mark.usefixtures("nothing_written")
def test_a_value_of_the_wrong_type_is_refused_and_named(
    method: Method,
    field: FieldDescriptor,
    value: Any,
    rest: Rest,
    account: Account,
    given: Given,
) -> None:
    verb, path, query, body = rest_request(method, valid_request(method, given(method)))
    if body is None:
        query = [*((name, text) for name, text in query if name != field.name), (field.name, value)]
    else:
        body[field.name] = value

    result = rest.send(verb, path, account.token, params=query, json=body)

    assert (result.http, result.code, result.reason) == (400, INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert {field.name, field.json_name} & set(_words(result.message)), result.message


@pytest.mark.parametrize("method", WITH_BODY, ids=lambda method: method.name)
@pytest.mark.usefixtures("nothing_written")
class TestBodies:
    @pytest.fixture
    def send(self, method: Method, rest: Rest, account: Account, given: Given) -> Callable[[bytes], CallResult]:
        """Sends these bytes as the body of the RPC's binding."""
        verb, path, _, _ = rest_request(method, valid_request(method, given(method)))

        def send(body: bytes) -> CallResult:
            return rest.send(verb, path, account.token, content=body, headers={"content-type": "application/json"})

        return send

    def test_twice_the_largest_request_is_too_large(self, send: Callable[[bytes], CallResult], method: Method) -> None:
        largest = max(MIB, method.largest_request_kib * 1024)
        response = send(json.dumps({"padding": "x" * 2 * largest}).encode())

        assert (response.http, response.reason) == (413, "BODY_TOO_LARGE")

    def test_json_ten_thousand_deep_is_refused(self, send: Callable[[bytes], CallResult]) -> None:
        response = send(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)

        assert (response.http, response.reason) == (400, "MALFORMED_REQUEST")

    @pytest.mark.parametrize(
        "body", [b'{"title":"\xff\xfe"}', b'{"title":"\xc3', b"{", b"[]", b'"text"', b"\x00", b'{"a":1}}']
    )
    def test_what_is_no_json_object_is_refused(self, send: Callable[[bytes], CallResult], body: bytes) -> None:
        response = send(body)

        assert (response.http, response.reason) == (400, "MALFORMED_REQUEST")
        assert response.message


@pytest.mark.parametrize("method", EXPOSED, ids=lambda method: method.name)
@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x0a\x7f", b"\x08"])
@pytest.mark.usefixtures("nothing_written")
def test_bytes_that_are_no_message_are_refused_by_grpc(
    rpc: Grpc, account: Account, method: Method, content: bytes
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _send_bytes(rpc, method, content, account.token)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, refused.value.details()


def awkward_texts() -> Iterator[tuple[Method, FieldDescriptor, str]]:
    """Text that the contract does not forbid and that systems stumble over."""
    for method in EXPOSED:
        for field in descriptor(method).input_type.fields:
            if field.type == FieldDescriptor.TYPE_STRING:
                for text in ("a\x00b", "a\u202eb\ufeff", "'; DROP TABLE tasks; --", "\U0001f6d2" * 10, "%s%(x)s{0}"):
                    yield method, field, text


AWKWARD = list(awkward_texts())


@pytest.mark.parametrize(
    ("method", "field", "text"),
    AWKWARD,
    ids=[f"{method.name}-{field.name}-{text!r}" for method, field, text in AWKWARD],
)
def test_awkward_text_is_no_internal_error(
    rpc: Grpc,
    account: Account,
    given: Given,
    method: Method,
    field: FieldDescriptor,
    text: str,
) -> None:
    request = valid_request(method, given(method))
    put(request, field, [text] if field.is_repeated else text)

    result = rpc.call(method, request, account.token)

    assert result.code not in OUR_FAULT, result
    if "\0" in text and not result.ok and result.reason == "INVALID_REQUEST":
        assert names_the_field(result, field.name)


@pytest.mark.parametrize("method", EXPOSED, ids=lambda method: method.name)
def test_instants_that_do_not_exist_are_no_internal_error(
    rpc: Grpc, account: Account, given: Given, method: Method
) -> None:
    for field in descriptor(method).input_type.fields:
        if field.message_type and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            for nanos in (-1, 1_000_000_000, 2**31 - 1):
                request = valid_request(method, given(method))
                put(request, field, Timestamp(seconds=1_000, nanos=nanos))
                result = rpc.call(method, request, account.token)
                assert result.code not in OUR_FAULT, result


def another_value(request: Message, field: FieldDescriptor) -> Any:
    """A valid value of a filter that the request does not have."""
    if field.type == FieldDescriptor.TYPE_ENUM and not field.is_repeated:
        return next(
            value.number for value in field.enum_type.values[1:] if value.number != getattr(request, field.name)
        )
    if field.message_type and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return Timestamp(seconds=getattr(request, field.name).seconds + 1)
    return valid_value(field) or True


@pytest.fixture(scope="module")
def tokens(account: Account) -> dict[str, str]:
    """A good page token of every list."""
    return {method.full_name: account.page_token(method) for method in PAGED}


class TestPageTokens:
    """Tokens of pages belong to one list of one user with one set of filters."""

    @pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
    def test_a_good_token_is_taken(self, rest: Rest, account: Account, tokens: dict[str, str], method: Method) -> None:
        assert rest.call(method, account.listing(method, page_token=tokens[method.full_name]), account.token).ok

    @pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
    @pytest.mark.parametrize("kind", ["nonsense", "empty parts", "cut", "changed", "of another list", "not base64"])
    def test_a_bad_token_is_refused(
        self, rest: Rest, rpc: Grpc, account: Account, tokens: dict[str, str], method: Method, kind: str
    ) -> None:
        good = tokens[method.full_name]
        other = next(token for name, token in tokens.items() if name != method.full_name)
        bad = {
            "nonsense": "nonsense",
            "empty parts": "..",
            "cut": good[:-1],
            "changed": ("B" if good[0] == "A" else "A") + good[1:],
            "of another list": other,
            "not base64": "%%%",
        }[kind]

        for client in (rest, rpc):
            result = client.call(method, account.listing(method, page_token=bad), account.token)
            assert (result.code, result.reason) == (INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")

    @pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
    def test_the_token_of_another_user_is_refused(
        self, rest: Rest, account: Account, tokens: dict[str, str], method: Method
    ) -> None:
        another = Account(rest)

        result = rest.call(method, account.listing(method, page_token=tokens[method.full_name]), another.token)

        assert (result.http, result.reason) == (400, "PAGE_TOKEN_INVALID")

    @pytest.mark.parametrize(
        ("method", "field"), FILTERS, ids=[f"{method.name}-{field.name}" for method, field in FILTERS]
    )
    def test_a_token_with_other_filters_is_refused(
        self, rest: Rest, account: Account, tokens: dict[str, str], method: Method, field: FieldDescriptor
    ) -> None:
        request = account.listing(method, page_token=tokens[method.full_name])
        put(request, field, another_value(request, field))

        assert rest.call(method, request, account.token).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("cursor", ["nonsense", "0", "-1", "1-1-1", "9" * 64])
def test_a_cursor_that_is_none_is_refused(rpc: Grpc, account: Account, cursor: str) -> None:
    request = realtime_service_pb2.SubscribeRequest(cursor=cursor)

    result = rpc.call(BY_NAME["Subscribe"], request, account.token)

    assert result.ok or result.reason in {"CURSOR_INVALID", "INVALID_REQUEST"}, result


@pytest.mark.usefixtures("nothing_written")
def test_a_field_that_the_mask_leaves_out_is_refused_and_named(
    rest: Rest, rpc: Grpc, account: Account, given: Given
) -> None:
    task_id = given(BY_NAME["UpdateTask"])["task_id"]
    request = task_service_pb2.UpdateTaskRequest(task_id=task_id, title="x", description="not named")
    request.update_mask.paths.append("title")

    for client in (rest, rpc):
        result = client.call(BY_NAME["UpdateTask"], request, account.token)
        assert (result.code, result.reason) == (INVALID_ARGUMENT, "FIELD_NOT_IN_MASK")
        assert result.detail(error_details_pb2.ErrorInfo).metadata["field"] == "description"


def _send_bytes(rpc: Grpc, method: Method, content: bytes, token: str) -> None:
    open_call = rpc.channel.unary_stream if method.streaming else rpc.channel.unary_unary
    response = open_call(method.grpc_path)(content, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS)
    if method.streaming:
        next(response)


def _words(message: str) -> list[str]:
    return message.replace("'", " ").replace(":", " ").replace(",", " ").replace("[", " ").replace('"', " ").split()
