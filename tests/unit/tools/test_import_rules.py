"""The import rules of pyproject.toml catch a service that breaks them."""

import subprocess
from pathlib import Path

import pytest

from tools.paths import ROOT, VENV_BIN

ROOMS = ("main", "handlers", "wire", "store", "rules", "model", "errors", "settings")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository with two services of sound shape."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "__init__.py").touch()
    (tmp_path / "mesh" / "db.py").write_text("import psycopg\n")
    for service in ("one", "two"):
        folder = tmp_path / "services" / service
        folder.mkdir(parents=True)
        for room in ("__init__", *ROOMS):
            (folder / f"{room}.py").touch()
        (folder / "handlers.py").write_text(f"import mesh.db\nfrom services.{service} import store, wire\n")
        (folder / "store.py").write_text("import psycopg\n")
    (tmp_path / "services" / "__init__.py").touch()
    return tmp_path


def broken(house: Path) -> bool:
    """Whether the rules find anything in the repository."""
    rules = ROOT / "pyproject.toml"
    command = [VENV_BIN / "lint-imports", "--no-cache", "--config", rules]
    done = subprocess.run(command, cwd=house, env={"PYTHONPATH": str(house)}, capture_output=True, check=False)
    return done.returncode != 0


def test_services_of_sound_shape_pass(house: Path) -> None:
    assert not broken(house)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("services/one/helpers.py", ""),
        ("services/one/handlers.py", "from services.two import store"),
        ("services/one/store.py", "from services.one import wire"),
        ("services/one/handlers.py", "import psycopg"),
        ("services/one/rules.py", "import grpc"),
        ("services/one/model.py", "from focusmesh.todo.v1 import task_pb2"),
        ("services/one/rules.py", "import mesh.db"),
        ("mesh/db.py", "from services.one import store"),
        ("services/one/main.py", "import stack.layout"),
    ],
)
def test_a_broken_rule_is_found(house: Path, file: str, text: str) -> None:
    (house / file).write_text(f"{text}\n")
    assert broken(house)
