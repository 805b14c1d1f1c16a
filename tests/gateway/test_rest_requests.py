"""Bodies of REST requests: nothing of them is lost in silence, and what is wrong is named."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf import json_format
from google.rpc import error_details_pb2

from contract.methods import Method
from harness.clients import CallResult, Rest, rest_request
from harness.rpcs import BY_NAME, EXPOSED
from harness.valid_requests import valid_request
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running

CREATE = BY_NAME["CreateTask"]
WITH_BODY = [method for method in EXPOSED if method.binding and method.binding.has_body]


def sent(rest: Rest, token: str, content: str | bytes, path: str = "/v1/tasks") -> CallResult:
    return rest.send("POST", path, token, content=content, headers={"content-type": "application/json"})


def named(result: CallResult) -> str:
    """The field that a refusal names, in its details and in its message."""
    assert (result.http, result.reason, result.domain) == (400, "MALFORMED_REQUEST", "gateway.focusmesh"), result
    [violation] = result.detail(error_details_pb2.BadRequest).field_violations
    assert result.message == f"{violation.field} {violation.description}."
    return violation.field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"dueDate":"2026-01-01T00:00:00Z"}', "dueDate"),
        ('{"title":"x","titel":null}', "titel"),
        ('{"title":"x","recurrence":{"byDay":[{"weekday":"WEEKDAY_MONDAY"},{"tag":1}]}}', "recurrence.byDay[1].tag"),
        ('{"ti\\u0074le":"x"}', "ti\\u0074le"),
        ('{"":1}', '""'),
        ('{"ä\\n":1}', "??\\n"),
        ('{"title":"x","title":"y"}', "title"),
        ('{"dueTime":null,"due_time":"2026-01-01T00:00:00Z"}', "dueTime"),
        ('{"reminderOffsets":["-P1D",null]}', "reminderOffsets[1]"),
        ('{"reminderOffsets":"-P1D"}', "reminderOffsets"),
        ('{"title":["x"]}', "title"),
        ('{"title":{}}', "title"),
        ('{"title":5}', "title"),
        ('{"title":tru}', "title"),
        ('{"recurrence":[]}', "recurrence"),
        ('{"recurrence":"x"}', "recurrence"),
        ('{"isRecurring":"true"}', "isRecurring"),
        ('{"isRecurring":truex}', "isRecurring"),
        ('{"estimatedPomodoros":"5"}', "estimatedPomodoros"),
        ('{"estimatedPomodoros":01}', "estimatedPomodoros"),
        ('{"estimatedPomodoros":0x1}', "estimatedPomodoros"),
        ('{"estimatedPomodoros":+1}', "estimatedPomodoros"),
        ('{"estimatedPomodoros":1.}', "estimatedPomodoros"),
        ('{"estimatedPomodoros":NaN}', "estimatedPomodoros"),
        ('{"repeatFrom":2}', "repeatFrom"),
        ('{"title":"x" "dueTime":null}', "title"),
        ('{"title" "x"}', "title"),
        ('{"title":"x', "title"),
        ('{"title":"x\\\\\\"}', "title"),
        ('{"title":"a\\\\b","description":"a\\qb"}', "description"),
        ('{"title":"\\\'"}', "title"),
        ('{"title":"\\v"}', "title"),
        ('{"title":"\\U0061"}', "title"),
        ('{"title":"\\\\\\\n"}', "title"),
        ('{"reminderOffsets":["-P1D","\\x"]}', "reminderOffsets[1]"),
    ],
)
def test_the_field_that_is_wrong_is_named(rest: Rest, upstream: Upstream, token: str, body: str, field: str) -> None:
    before = len(upstream.calls(CREATE))

    assert named(sent(rest, token, body)) == field

    assert len(upstream.calls(CREATE)) == before


def test_a_field_of_a_body_may_be_in_the_query_but_not_in_both(rest: Rest, upstream: Upstream, token: str) -> None:
    assert sent(rest, token, '{"title":"x"}', "/v1/tasks?description=more").http == 200
    received = upstream.last(CREATE).request
    assert isinstance(received, pb.CreateTaskRequest)
    assert (received.title, received.description) == ("x", "more")

    assert named(sent(rest, token, '{"title":"x"}', "/v1/tasks?title=y")) == "title"


def test_an_element_that_is_null_is_named_by_its_index(rest: Rest, token: str) -> None:
    assert named(sent(rest, token, '{"requests":[{"title":"a"},null]}', "/v1/tasks:batchCreate")) == "requests[1]"


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        '"x"',
        "null",
        "{'title':'x'}",
        '{title:"x"}',
        '{"title":"x",}',
        "{,}",
        '{"title":"x"}}',
        "{",
        "//",
        "\ufeff{}",
    ],
)
def test_what_is_nearly_json_is_refused(rest: Rest, token: str, body: str) -> None:
    result = sent(rest, token, body.encode())

    assert (result.http, result.reason) == (400, "MALFORMED_REQUEST")
    assert result.message


@pytest.mark.parametrize(
    "body",
    [
        ' {\n"title" : "a\\"b\\\\" ,\t"description":"\\/\\b\\f\\n\\r\\t\\u00e4\\ud83c\\udf45 \x7f{[,:"\r\n}  ',
        '{"title":"x","due_time":"2026-01-01T00:00:00Z","isRecurring":true,"estimated_pomodoros":3}',
        '{"title":"x","dueTime":null,"recurrence":null,"reminderOffsets":null}',
        '{"title":"x","reminderOffsets":[ ],"estimatedPomodoros":1e1}',
        '{"title":"x","reminderOffsets":["-P1D" , "PT1H"],"recurrence":{"frequency":"FREQUENCY_DAILY","interval":2}}',
        '{"title":"x","estimatedPomodoros":-0}',
        "{}",
    ],
)
def test_what_is_right_reaches_the_service_as_it_was_written(
    rest: Rest, upstream: Upstream, token: str, body: str
) -> None:
    assert sent(rest, token, body).ok

    assert upstream.last(CREATE).request == json_format.Parse(body, pb.CreateTaskRequest())


def test_a_refusal_shows_nothing_of_the_requests_before_it(rest: Rest, token: str) -> None:
    def refused_while_it_waits() -> Iterator[bytes]:
        yield b"{"
        assert named(sent(rest, token, '{"secret":1}')) == "secret"
        yield b"}"

    assert named(sent(rest, token, '{"secret":1}')) == "secret"
    for content in (b"{}", refused_while_it_waits()):
        result = rest.send("DELETE", f"/v1/tasks/{uuid.uuid4()}", token, content=content, headers=JSON)

        assert (result.http, result.reason) == (400, "MALFORMED_REQUEST")
        assert result.message == "The body must be empty: this call takes its fields from the path and the query."


@pytest.mark.parametrize("method", WITH_BODY, ids=lambda method: method.full_name)
def test_a_valid_request_of_every_rpc_passes_and_one_more_field_does_not(
    rest: Rest, upstream: Upstream, token: str, method: Method
) -> None:
    request = valid_request(method)
    verb, path, _, body = rest_request(method, request)

    assert rest.send(verb, path, token, json=body).ok
    assert upstream.last(method).request == request

    assert named(rest.send(verb, path, token, json={**body, "noSuchField": 1})) == "noSuchField"


def test_a_body_that_comes_in_pieces_is_checked_whole(rest: Rest, upstream: Upstream, token: str) -> None:
    def pieces(end: bytes) -> Iterator[bytes]:
        yield b'{"title":"'
        yield from [b"x" * 16384] * 10
        yield end

    assert named(rest.send("POST", "/v1/tasks", token, content=pieces(b'","b":1}'), headers=JSON)) == "b"
    assert rest.send("POST", "/v1/tasks", token, content=pieces(b'"}'), headers=JSON).ok
    assert len(upstream.last(CREATE).request.title) == 163_840


def test_a_list_far_beyond_its_limit_is_refused_before_it_is_understood(
    rest: Rest, upstream: Upstream, token: str
) -> None:
    def batch(number: int) -> CallResult:
        return sent(rest, token, '{"requests":[' + ",".join(["{}"] * number) + "]}", "/v1/tasks:batchCreate")

    assert batch(200).ok  # what is a little too long is for the service to refuse
    assert named(batch(300_000)) == "requests"


def test_random_json_never_disturbs_the_check(rest: Rest, gateway: Running, token: str) -> None:
    chance, log = random.Random(0), gateway.folder / "envoy.log"  # noqa: S311 (repeatable)
    for _ in range(300):
        text = json.dumps({"title": anything(chance, 3), "recurrence": anything(chance, 3)})
        cut = chance.randrange(len(text))
        assert sent(
            rest, token, text[:cut] + chance.choice(['"', "\\", "}", "]", ",", "\x00", ""]) + text[cut:]
        ).http in (
            200,
            400,
        )
    assert "script log" not in log.read_text()


def anything(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(6 if depth else 4)
    if kind == 4:
        return [anything(chance, depth - 1) for _ in range(2)]
    if kind == 5:
        return {chance.choice(["title", "byDay", "day", "x"]): anything(chance, depth - 1) for _ in range(2)}
    return chance.choice([None, True, 'x\\"', 5, -1.5e3, "2026-01-01T00:00:00Z"])


JSON = {"content-type": "application/json"}
