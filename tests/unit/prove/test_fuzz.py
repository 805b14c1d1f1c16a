"""What `make fuzz` asks of Schemathesis, and what it says of its report."""

import pytest
import yaml
from schemathesis.config import SchemathesisConfig

from prove import fuzz
from stack.errors import StackError
from stack.layout import ROOT

REPORT = {
    "seed": 7,
    "running_time": 12.3,
    "operations": {"tested": 2},
    "test_cases": {"generated": 90, "with_failures": 3},
    "failures": [{"title": "Server error", "count": 3, "operations": ["GET /v1/tasks"]}],
}


def test_it_signs_in_by_the_scheme_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in fuzz.LOGIN:
        monkeypatch.setenv(name, name)
    configuration = SchemathesisConfig.from_path(fuzz.CONFIGURATION)
    schemes = configuration.projects.default.auth.dynamic.schemes
    document = yaml.load((ROOT / "gen" / "openapi" / "openapi.yaml").read_text(), yaml.CSafeLoader)
    assert set(schemes) == set(document["components"]["securitySchemes"])
    assert all(scheme.path in document["paths"] for scheme in schemes.values())


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["--max-time", "600"]),
        ({"QUICK": "1"}, ["--max-time", "60"]),
        ({"QUICK": "1", "SECONDS": "5"}, ["--max-time", "5"]),
        ({"ONLY": "TaskService,AuditService"}, ["--include-tag", "TaskService", "--include-tag", "AuditService"]),
        ({"SEED": "7"}, ["--seed", "7"]),
    ],
)
def test_the_environment_says_how_much_is_fuzzed(environment: dict[str, str], words: list[str]) -> None:
    command = fuzz.Plan.from_environment(environment).command("http://127.0.0.1:1")
    assert " ".join(words) in " ".join(command)


@pytest.mark.parametrize("environment", [{"SECONDS": "a while"}, {"SECONDS": "0"}, {"SEED": "x"}])
def test_what_is_no_number_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(StackError, match="not whole numbers"):
        fuzz.Plan.from_environment(environment)


def test_the_summary_names_what_failed_and_the_seed_that_makes_it_fail_again() -> None:
    head, *kinds = fuzz.summary(REPORT).splitlines()
    assert "90 requests to 2 operations" in head
    assert "seed 7" in head
    assert kinds == ["  3 of Server error: GET /v1/tasks"]
