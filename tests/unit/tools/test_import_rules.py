"""The import rules of pyproject.toml catch a service that breaks them."""

import subprocess
from pathlib import Path

import pytest

from tools.paths import ROOT, VENV_BIN

FILES = ("main", "handlers", "wire", "store", "rules", "model", "errors", "settings")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two services of sound shape."""
    for layer in ("rpc", "events", "database", "outgoing", "recurrence", "runtime"):
        (tmp_path / "mesh" / layer).mkdir(parents=True)
        (tmp_path / "mesh" / layer / "__init__.py").touch()
    for name in ("__init__", "app", "platform", "retention"):
        (tmp_path / "mesh" / f"{name}.py").touch()
    (tmp_path / "mesh" / "database" / "pool.py").write_text("import psycopg\n")
    for service in ("one", "two"):
        folder = tmp_path / "services" / service
        folder.mkdir(parents=True)
        for name in ("__init__", *FILES):
            (folder / f"{name}.py").touch()
        (folder / "handlers.py").write_text(f"import mesh.database.pool\nfrom services.{service} import store, wire\n")
        (folder / "store.py").write_text("import psycopg\n")
    (tmp_path / "services" / "__init__.py").touch()
    return tmp_path


def broken(repository: Path) -> bool:
    """Whether the rules find anything in the repository."""
    rules = ROOT / "pyproject.toml"
    command = [VENV_BIN / "lint-imports", "--no-cache", "--config", rules]
    done = subprocess.run(
        command, cwd=repository, env={"PYTHONPATH": str(repository)}, capture_output=True, check=False
    )
    return done.returncode != 0


def test_services_of_sound_shape_pass(repository: Path) -> None:
    assert not broken(repository)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("services/one/helpers.py", ""),
        ("services/one/handlers.py", "from services.two import store"),
        ("services/one/store.py", "from services.one import wire"),
        ("services/one/handlers.py", "import psycopg"),
        ("services/one/rules.py", "import grpc"),
        ("services/one/model.py", "from focusmesh.todo.v1 import task_pb2"),
        ("services/one/rules.py", "import mesh.database.pool"),
        ("mesh/database/pool.py", "from services.one import store"),
        ("mesh/database/pool.py", "import mesh.events"),
        ("mesh/misplaced.py", ""),
        ("services/one/main.py", "import stack.layout"),
    ],
)
def test_a_broken_rule_is_found(repository: Path, file: str, text: str) -> None:
    (repository / file).write_text(f"{text}\n")
    assert broken(repository)
