"""What is refused before it costs anything, and whose calls never are."""

from collections import defaultdict
from typing import Any

from contract import descriptors
from envoy.admission import admission

METHODS = [method for method in descriptors.load().rpcs if method.exposed]


def limits() -> dict[str, Any]:
    """The limits by the beginning of a path."""
    matcher = admission(METHODS)["typed_config"]["xds_matcher"]["matcher_tree"]
    found: dict[str, Any] = matcher["prefix_match_map"]["map"]
    return found


def test_every_rpc_has_a_limit_by_both_its_names() -> None:
    prefixes = tuple(limits())
    paths = [method.grpc_path for method in METHODS]
    paths += [method.binding.template for method in METHODS if method.binding]
    assert [path for path in paths if not path.startswith(prefixes)] == []


def test_no_service_shares_a_limit_with_another() -> None:
    owners = defaultdict(set)
    for method in METHODS:
        for path in (method.grpc_path, method.binding.template if method.binding else method.grpc_path):
            owners[max((prefix for prefix in limits() if path.startswith(prefix)), key=len)].add(method.owner)
    assert [prefix for prefix, services in owners.items() if len(services) > 1] == []


def test_only_unavailability_counts_so_that_no_caller_spoils_the_calls_of_others() -> None:
    for limit in limits().values():
        criteria = limit["action"]["typed_config"]["typed_config"]["typed_config"]["success_criteria"]
        successes = criteria["http_criteria"]["http_success_status"]
        failed = [status for status in range(100, 600) if not any(s["start"] <= status < s["end"] for s in successes)]
        assert failed == [503]
        assert set(range(17)) - set(criteria["grpc_criteria"]["grpc_success_status"]) == {14}
