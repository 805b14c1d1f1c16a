"""What the proof of neighbours complains about."""

from collections.abc import Sequence

import pytest

from contract.methods import Method
from envoy.settings import Allowances
from harness.rpcs import BY_NAME, EXPOSED, INTERNAL
from prove.neighbours.attack import allowance_of, attack_on
from prove.neighbours.proof import chosen
from prove.neighbours.results import Piece, Result, Sample, control, promises, result_of
from prove.plan import NEIGHBOURS, Plan
from prove.promises import Promise
from stack.errors import StackError

CALM = [Sample("todo", 0.004, 0.001, "")] * 300
KEPT = Piece("todo", 320, 300, "the event loop was kept for 320 ms")
BLOCKED = Piece("todo", 290, 0, "the event loop was kept for 290 ms")


def result(samples: Sequence[Sample] = CALM, settled: float = 0.5, *lags: Piece) -> Result:
    return result_of("todo/ListTasks", samples, {"OK": 90}, settled, lags)


def broken(one: Result, grown: int = 0, *, quiet: bool = True) -> list[str]:
    found: list[Promise] = list(promises([result(), one], {"todo": grown, "auth": 0}, quiet=quiet))
    return [promise.name for promise in found if not promise.holds]


def test_a_calm_run_keeps_every_promise() -> None:
    assert broken(result()) == []


@pytest.mark.parametrize(
    ("disturbed", "promise"),
    [
        (result([*CALM, *[Sample("auth", 0.3, 0.0, "")] * 4]), "no neighbour is disturbed"),
        (result([*CALM, Sample("auth", 0.01, 0.0, "UNAVAILABLE")]), "never refused"),
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


def test_waiting_for_a_processor_counts_only_on_a_quiet_machine() -> None:
    queued = result([*CALM, *[Sample("auth", 0.3, 0.25, "")] * 4])
    assert broken(queued, quiet=True)
    assert not broken(queued, quiet=False)


def test_the_control_has_to_be_seen_by_the_user_and_by_the_service() -> None:
    slow = [*CALM, *[Sample("todo", 0.3, 0.0, "")] * 4]
    assert control(result(slow, 0.5, BLOCKED), quiet=True).holds
    assert not control(result(CALM, 0.5, BLOCKED), quiet=True).holds
    assert not control(result(slow, 0.5), quiet=True).holds


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
    attack = attack_on(method, "127.0.0.1:1", "", {}, 1.0, seed=7)
    assert len(attack.requests) > 7
    assert bool(attack.by_rest) is method.exposed
