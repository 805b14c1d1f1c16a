"""A service as `make new-service` makes it: its contract holds, its tests pass, and it starts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contract import descriptors, rules
from tests.support.gateway_process import free_ports
from tools import generate, openapi, scopes
from tools.new_service import __main__ as new_service
from tools.paths import BUF, BUILD, ROOT, VENV_BIN

STARTS_WITHIN_SECONDS = 20
NOT_COPIED = (".*", "__pycache__", "image.binpb")
TESTS = [f"tests/{level}/samples" for level in ("unit", "store", "contract", "events")]


def run(repository: Path, *command: object) -> str:
    """Runs a command in the repository; raises with its output when it fails."""
    environment = {
        **os.environ,
        "PATH": f"{VENV_BIN}:{os.environ['PATH']}",
        "PYTHONPATH": f"{repository}:{repository}/gen/python",
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the service samples in it, and what `make proto` generates for it."""
    generate.contract()
    root = tmp_path_factory.mktemp("repository") / "copy"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (root / ".build").symlink_to(BUILD)
    written = new_service.begin(root, "samples", "sample")
    protos = [str(path.relative_to("protos")) for path in written if path.suffix == ".proto"]
    run(root, BUF, "build", "protos", "-o", root / "image.binpb")
    out = (f"--{kind}_out=gen/python" for kind in ("python", "grpc_python"))
    run(root, sys.executable, "-m", "grpc_tools.protoc", "--descriptor_set_in=image.binpb", *out, *protos)
    granted = scopes.module(descriptors.load(root / "image.binpb"))
    (root / "gen" / "python" / "focusmesh" / "scopes.py").write_text(granted)
    return root


def test_its_contract_keeps_every_rule_and_is_formatted(repository: Path) -> None:
    assert rules.complaints(descriptors.load(repository / "image.binpb")) == []
    run(repository, BUF, "lint")
    run(repository, BUF, "format", "protos", "--diff", "--exit-code")


def test_the_document_of_rest_has_it_last_since_nothing_says_when_readers_need_it(repository: Path) -> None:
    document = openapi.Document(descriptors.load(repository / "image.binpb")).build()
    assert document["tags"][-1]["name"] == "SampleService"
    assert "/v1/samples" in document["paths"]


def test_its_code_keeps_the_rules_of_the_repository(repository: Path) -> None:
    run(repository, VENV_BIN / "ruff", "check", "services/samples", *TESTS)
    run(repository, VENV_BIN / "ruff", "format", "--check", "services/samples", *TESTS)
    run(repository, VENV_BIN / "lint-imports", "--no-cache")


def test_its_tests_pass_on_a_real_database(repository: Path) -> None:
    """Those of tests/events, which need a broker of their own, run with the suite of a service that was really made."""
    levels = [level for level in TESTS if "events" not in level]
    assert " passed" in run(repository, sys.executable, "-m", "pytest", *levels, "--override-ini=addopts=-q")


@contextmanager
def started(repository: Path) -> Iterator[grpc.Channel]:
    """The service as a process, with none of its dependencies there; a channel to it."""
    (port,) = free_ports(1)
    nowhere = "127.0.0.1:1"
    settings = {
        "LISTEN": f"127.0.0.1:{port}",
        "DATABASE_URL": f"postgresql://samples@{nowhere}/focusmesh",
        "REDIS_URL": f"redis://{nowhere}",
        "KAFKA_BOOTSTRAP": nowhere,
        "JWKS_TARGET": nowhere,
        "PAGE_TOKEN_KEY": "k" * 32,
        "DRAIN_SECONDS": "0",
    }
    environment = {**os.environ, "PYTHONPATH": f"{repository}:{repository}/gen/python"}
    environment |= {f"FOCUSMESH_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "services.samples.main"]
    with (
        subprocess.Popen(command, cwd=repository, env=environment) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        try:
            yield channel
        finally:
            process.terminate()
            assert process.wait(STARTS_WITHIN_SECONDS) == 0


def test_it_starts_and_is_not_serving_without_its_dependencies(repository: Path) -> None:
    with started(repository) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest()
        response = health.Check(asked, wait_for_ready=True, timeout=STARTS_WITHIN_SECONDS)
        assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
