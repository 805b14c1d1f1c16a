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
from tools import generate, scopes
from tools.new_service import __main__ as new_service
from tools.paths import BUF, BUILD, ROOT, VENV_BIN

STARTS_WITHIN_SECONDS = 20
NOT_COPIED = (".*", "__pycache__", "image.binpb")
TESTS = [f"tests/{level}/samples" for level in ("unit", "store", "contract", "events")]


def run(house: Path, *command: object) -> str:
    """Runs a command in the repository; raises with what it said when it fails."""
    environment = {
        **os.environ,
        "PATH": f"{VENV_BIN}:{os.environ['PATH']}",
        "PYTHONPATH": f"{house}:{house}/gen/python",
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the service samples in it, and what `make proto` makes for its own code."""
    generate.contract()
    root = tmp_path_factory.mktemp("house") / "copy"
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


def test_its_contract_keeps_every_rule_and_is_formatted(house: Path) -> None:
    assert rules.complaints(descriptors.load(house / "image.binpb")) == []
    run(house, BUF, "lint")
    run(house, BUF, "format", "protos", "--diff", "--exit-code")


def test_its_code_keeps_the_houses_rules(house: Path) -> None:
    run(house, VENV_BIN / "ruff", "check", "services/samples", *TESTS)
    run(house, VENV_BIN / "ruff", "format", "--check", "services/samples", *TESTS)
    run(house, VENV_BIN / "lint-imports", "--no-cache")


def test_its_tests_pass_on_a_real_database(house: Path) -> None:
    """Those of tests/events, which need a broker of their own, run with the suite of a service that was really made."""
    levels = [level for level in TESTS if "events" not in level]
    assert " passed" in run(house, sys.executable, "-m", "pytest", *levels, "--override-ini=addopts=-q")


@contextmanager
def started(house: Path) -> Iterator[grpc.Channel]:
    """The service as a process, with none of its parts there; a channel to it."""
    (port,) = free_ports(1)
    nowhere = "127.0.0.1:1"
    told = {
        "LISTEN": f"127.0.0.1:{port}",
        "DATABASE_URL": f"postgresql://samples@{nowhere}/focusmesh",
        "REDIS_URL": f"redis://{nowhere}",
        "KAFKA_BOOTSTRAP": nowhere,
        "JWKS_TARGET": nowhere,
        "PAGE_TOKEN_KEY": "k" * 32,
        "DRAIN_SECONDS": "0",
    }
    environment = {**os.environ, "PYTHONPATH": f"{house}:{house}/gen/python"}
    environment |= {f"FOCUSMESH_{name}": value for name, value in told.items()}
    command = [sys.executable, "-m", "services.samples.main"]
    with (
        subprocess.Popen(command, cwd=house, env=environment) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        try:
            yield channel
        finally:
            process.terminate()
            assert process.wait(STARTS_WITHIN_SECONDS) == 0


def test_it_starts_and_says_that_its_parts_are_away(house: Path) -> None:
    with started(house) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest()
        response = health.Check(asked, wait_for_ready=True, timeout=STARTS_WITHIN_SECONDS)
        assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
