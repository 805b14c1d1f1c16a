"""What tests share is in modules of its own: nothing imports a conftest or a test module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.paths import ROOT


def imported(statement: ast.stmt) -> list[str]:
    """The names that an import statement asks for, in full."""
    if isinstance(statement, ast.ImportFrom):
        return [f"{'.' * statement.level}{statement.module or ''}.{alias.name}" for alias in statement.names]
    return [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []


def is_private(name: str) -> bool:
    """Whether a name leads into a conftest or a test module."""
    first, *rest = name.split(".")
    return first in {"", "tests"} and any(part.startswith("test_") or part == "conftest" for part in rest)


def violations(root: Path) -> Iterator[str]:
    """Imports that break the rule: file, line and name."""
    for path in sorted((root / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported(node) if isinstance(node, ast.stmt) else ():
                if is_private(name):
                    yield f"{path.relative_to(root)}:{node.lineno}: {name}"


def test_no_test_imports_a_conftest_or_a_test_module() -> None:
    assert list(violations(ROOT)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.conftest import started",
        "from tests.contract.mesh.test_keys import Auth",
        "import tests.events.conftest",
        "import tests.events.test_relay as relay",
        "from . import conftest",
        "from .test_keys import Auth",
    ],
)
def test_a_planted_import_is_found(statement: str, tmp_path: Path) -> None:
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "unit" / "test_one.py").write_text(f"import pytest\n{statement}\n")
    assert len(list(violations(tmp_path))) == 1


def test_what_is_shared_may_be_imported(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text(
        "import testing.test_tools\nfrom tests.support.tokens import Signer\n"
    )
    assert list(violations(tmp_path)) == []
