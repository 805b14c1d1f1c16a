"""What the proof of neighbours complains about."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from contract.methods import Method
from envoy.settings import Allowances, Bucket
from harness.awkward_requests import awkward_requests, largest_request
from harness.rpcs import BY_NAME, EXPOSED, INTERNAL, descriptor
from harness.valid_requests import valid_request
from mesh.rpc import validation
from mesh.runtime.errors import InvalidRequest
from prove.neighbours.attack import Attack, Rest, allowance_of, attack_on, in_turn, send_in_turn
from prove.neighbours.measure import Neighbour
from prove.neighbours.proof import chosen
from prove.neighbours.results import GRPC, REST, Piece, Result, Sample, control, promises, result_of, together
from prove.plan import NEIGHBOURS, Plan
from prove.promises import Promise
from stack.errors import StackError

CALM = [Sample("todo", 0.004, "")] * 300
STALL = Sample("auth", 0.3, "")
KEPT = Piece("todo", 320, 300, "the event loop was kept for 320 ms")
BLOCKED = Piece("todo", 290, 0, "the event loop was kept for 290 ms")


def result(samples: Sequence[Sample] = CALM, settled: float = 0.5, *lags: Piece) -> Result:
    return result_of("todo/ListTasks", samples, {"OK": 90}, settled, lags)


def found(one: Result, grown: int = 0, calm: Result | None = None) -> list[Promise]:
    return list(promises([result(), one], {"todo": grown, "auth": 0}, calm or result()))


def broken(one: Result, grown: int = 0) -> list[str]:
    return [promise.name for promise in found(one, grown) if not promise.holds]


def attacked(codes: dict[str, int], *ways: str, repeatable: bool = True) -> Result:
    return replace(result(), codes=codes, ways=ways, repeatable=repeatable)


def test_a_calm_run_keeps_every_promise() -> None:
    assert broken(result()) == []


@pytest.mark.parametrize(
    ("disturbed", "promise"),
    [
        (result([*CALM, STALL]), "no neighbour is disturbed"),
        (result([*CALM, STALL._replace(settling=True)]), "no neighbour is disturbed"),
        (result([*CALM, *[Sample("auth", 0.01, "")] * 29, STALL]), "no neighbour is disturbed"),
        (result([*CALM, Sample("auth", 0.01, "UNAVAILABLE")]), "never refused"),
        (attacked({"INVALID_ARGUMENT": 90}, GRPC), "hostile user is served"),
        (result(CALM, 0.5, KEPT), "keeps an event loop"),
        (result(CALM, 30.0), "reach every consumer"),
    ],
)
def test_each_disturbance_breaks_its_promise(disturbed: Result, promise: str) -> None:
    [name] = broken(disturbed)
    assert promise in name


def test_memory_that_stays_breaks_its_promise() -> None:
    assert broken(result(), 64 << 20) == []
    [name] = broken(result(), (64 << 20) + 1)
    assert "gives memory back" in name


def test_a_stall_after_the_attack_does_not_vanish_among_the_samples_during_it() -> None:
    during = [Sample("auth", 0.01, "")] * 3000
    assert result([*during, STALL]).judged_ms < 100
    assert result([*during, STALL._replace(settling=True)]).judged_ms == 300


def test_nothing_is_judged_on_a_machine_that_does_other_work() -> None:
    [undisturbed, *rest] = found(result(), calm=result([Sample("todo", 0.051, "")] * 300))
    assert not undisturbed.holds
    assert "the machine does other work" in undisturbed.violations[0]
    assert all(promise.holds for promise in rest)


@pytest.mark.parametrize(
    ("codes", "ways", "repeatable", "missing"),
    [
        ({"OK": 1, "200": 1}, (GRPC, REST), True, []),
        ({"OK": 1, "204": 1}, (GRPC, REST), True, []),
        ({"OK": 9, "400": 9}, (GRPC, REST), True, [REST]),
        ({"INVALID_ARGUMENT": 9, "200": 9}, (GRPC, REST), True, [GRPC]),
        ({"OK": 1, "404": 9}, (GRPC, REST), False, []),
        ({"UNAUTHENTICATED": 9, "401": 9}, (GRPC, REST), False, [GRPC, REST]),
        ({}, (GRPC,), True, [GRPC]),
    ],
)
def test_an_attack_has_to_be_served_by_each_way_or_once_when_it_can_be_done_once(
    codes: dict[str, int], ways: tuple[str, ...], repeatable: bool, missing: list[str]
) -> None:
    assert attacked(codes, *ways, repeatable=repeatable).unaccepted() == missing


def test_of_three_tries_the_median_is_judged_and_nothing_that_went_wrong_is_lost() -> None:
    refused = Sample("auth", 0.01, "UNAVAILABLE")
    tries = [
        result([*CALM, STALL], 2.0, KEPT),
        result([*CALM, refused], 31.0),
        result([*CALM, STALL._replace(seconds=0.2), refused], 1.0, BLOCKED),
    ]
    one = together(tries)
    assert one.judged_ms == 200
    assert one.tries == [300, 10, 200]
    assert one.refused == {"UNAVAILABLE of auth": 2}
    assert one.codes == {"OK": 270}
    assert one.settle_seconds == 31.0
    assert one.lags == [KEPT, BLOCKED]


def test_the_control_has_to_be_seen_by_the_user_and_by_the_service() -> None:
    slow = [*CALM[:29], Sample("todo", 0.3, "")]
    assert control(result(slow, 0.5, BLOCKED)).holds
    assert not control(result(CALM, 0.5, BLOCKED)).holds
    assert not control(result(slow, 0.5)).holds


async def test_the_other_user_tells_calls_during_the_attack_from_those_after_it() -> None:
    called, attack_ended, over = Counter[str](), asyncio.Event(), asyncio.Event()

    async def call(_token: str) -> None:
        called["todo"] += 1
        if called["todo"] == 3:
            attack_ended.set()
        if called["todo"] == 5:
            over.set()

    samples = await Neighbour({"todo": call}).until(over.is_set, 5, attack_ended.is_set)
    assert len(samples) == called["todo"]
    assert [sample.settling for sample in samples] == sorted(sample.settling for sample in samples)
    assert sum(not sample.settling for sample in samples) >= 3
    assert samples[-1].settling


def test_a_whole_run_attacks_every_rpc_and_a_quick_one_says_how_few() -> None:
    whole = chosen(Plan.from_environment({}))
    assert {method.full_name for method in whole} == {method.full_name for method in (*EXPOSED, *INTERNAL)}
    quick = chosen(Plan.from_environment({"QUICK": "1", "SEED": "7"}))
    assert len(quick) == 12
    assert quick == chosen(Plan.from_environment({"QUICK": "1", "SEED": "7"}))
    assert {"BatchCreateTasks", "ImportEvents"} < {method.name for method in quick}


def test_rpcs_can_be_chosen_by_name_and_not_on_the_running_stack() -> None:
    plan = Plan.from_environment({"ONLY": NEIGHBOURS, "RPC": "TaskService/List"})
    assert [method.name for method in chosen(plan)] == ["ListTasks"]
    with pytest.raises(StackError, match="stack of its own"):
        Plan.from_environment({"ONLY": NEIGHBOURS, "RUNNING": "1"})


@pytest.mark.parametrize(
    ("name", "allowance"),
    [("CreateTask", "write"), ("ListTasks", "read"), ("Login", "credential"), ("Subscribe", "stream")],
)
def test_the_hostile_user_keeps_to_the_default_allowance_of_an_rpc(name: str, allowance: str) -> None:
    assert allowance_of(BY_NAME[name]) == getattr(Allowances(), allowance)


@pytest.mark.parametrize("method", [BY_NAME["CreateTask"], BY_NAME["ListTasks"], BY_NAME["FindOwnedTasks"]])
def test_an_attack_goes_by_grpc_and_where_there_is_a_route_by_rest(method: Method) -> None:
    requests = attack_on(method, "127.0.0.1:1", "", {}, 1.0, seed=7).requests
    by_rest = [request for request in requests if isinstance(request, Rest)]
    assert len(requests) - len(by_rest) > 7
    assert bool(by_rest) is method.exposed


def test_an_attack_fills_the_messages_too_that_a_call_needs_to_be_accepted() -> None:
    method = BY_NAME["UpdateSeries"]
    given = {"slot": "2026-03-29", "changes": valid_request(method).changes}  # type: ignore[attr-defined]
    by_grpc = [one for one in attack_on(method, "", "", given, 1.0, seed=7).requests if isinstance(one, bytes)]
    allowed = {request.SerializeToString() for _, request in awkward_requests(method, given)}
    assert max(map(len, allowed)) < 1_000
    read = validation.reader(descriptor(method).input_type, largest_request(method))
    valid = []
    for content in by_grpc:
        with suppress(InvalidRequest):
            valid.append(read(content))
    assert max(request.ByteSize() for request in valid) > 40_000


def test_both_ways_take_turns_until_each_request_was_sent() -> None:
    by_rest = [Rest("GET", f"/{number}", None) for number in range(2)]
    assert in_turn([b"1", b"2", b"3", b"4"], by_rest) == [b"1", by_rest[0], b"2", b"3", by_rest[1], b"4"]
    assert in_turn([b"1", b"2"], []) == [b"1", b"2"]


async def test_an_attack_lasts_until_all_of_its_requests_were_sent() -> None:
    requests: list[bytes | Rest] = [b"%d" % number for number in range(6)]
    attack = Attack(BY_NAME["CreateTask"], "", "", requests, Bucket(2, 100, 1), seconds=0.0)
    sent: list[bytes | Rest] = []

    async def call(request: bytes | Rest) -> None:
        sent.append(request)

    await send_in_turn(attack, call)
    assert sent[: len(requests)] == requests
