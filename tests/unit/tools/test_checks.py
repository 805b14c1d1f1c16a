"""Each check of the repository catches the mistake it is there for."""

import subprocess
from pathlib import Path

import pytest

from tools import breaking, doc_paths, drift, generate, size_budget


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one document and one source file."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "clock.py").write_text("def now() -> None:\n    pass\n")
    (tmp_path / "Makefile").write_text("up: setup ## Start\n\nsetup:\n")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "See `mesh/clock.py` and [it](mesh/clock.py#L2); then `make up`.",
        "A method: `mesh/clock.py:now`. No paths: `application/json`, `tasks/{id}`, `and/or`.",
        "[elsewhere](https://example.org/mesh/none.py), [below](#here), `.run/logs/x`, make nothing of it.",
        "```\nmake up\n```",
    ],
)
def test_a_document_that_names_what_is_there_is_fine(repository: Path, text: str) -> None:
    (repository / "README.md").write_text(text)
    assert doc_paths.complaints(repository) == []


@pytest.mark.parametrize(
    "text",
    [
        "See `mesh/missing.py`.",
        "See `mesh/missing/`.",
        "See `gone/clock.py`.",
        "See [it](mesh/missing.py).",
        "See [it](mesh/clock.py#L3).",
        "Then `make upp`.",
        "```\nmake upp\n```",
    ],
)
def test_a_document_that_names_what_is_not_there_is_found(repository: Path, text: str) -> None:
    (repository / "README.md").write_text(text)
    assert len(doc_paths.complaints(repository)) == 1


@pytest.mark.parametrize("folder", ["services/todo", "envoy"])
def test_documents_of_services_and_packages_are_read_too(repository: Path, folder: str) -> None:
    (repository / folder).mkdir(parents=True)
    (repository / folder / "README.md").write_text("See `mesh/missing.py`.")
    assert len(doc_paths.complaints(repository)) == 1


def test_a_function_may_have_fifty_lines_and_no_more(repository: Path) -> None:
    fits = "def fits() -> None:\n" + "    pass\n" * 49
    (repository / "mesh" / "clock.py").write_text(fits)
    assert size_budget.complaints(repository) == []
    (repository / "mesh" / "clock.py").write_text(fits + "    pass\n")
    assert size_budget.complaints(repository) == ["mesh/clock.py:fits: 51 lines, budget 50"]


def test_a_file_may_have_four_hundred_lines_and_no_more(repository: Path) -> None:
    (repository / "mesh" / "clock.py").write_text("x = 1\n" * 400)
    assert size_budget.complaints(repository) == []
    (repository / "mesh" / "clock.py").write_text("x = 1\n" * 401)
    assert size_budget.complaints(repository) == ["mesh/clock.py: 401 lines, budget 400"]


def test_an_allowance_that_nothing_needs_is_found(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_budget, "ALLOWED", {"mesh/clock.py": "a table"})
    assert size_budget.complaints(repository) == ["mesh/clock.py: allowed without need"]


def test_generated_files_that_differ_are_named(tmp_path: Path) -> None:
    committed, fresh = tmp_path / "committed", tmp_path / "fresh"
    for folder, names in ((committed, "same changed stale"), (fresh, "same changed new")):
        folder.mkdir()
        for name in names.split():
            (folder / name).write_text("same" if name == "same" else folder.name)
    found = [line.removeprefix(f"{committed}/") for line in drift.differences(committed, fresh)]
    assert found == ["changed: different", "new: not committed", "stale: left over"]


def test_mirroring_leaves_nothing_that_differs(tmp_path: Path) -> None:
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    for folder, names in ((kept, "changed stale.py"), (fresh, "changed new.py")):
        folder.mkdir()
        for name in names.split():
            (folder / name).write_text(folder.name)
    generate.mirror(fresh, kept)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"changed": "fresh", "new.py": "fresh"}


class History:
    """A repository with a contract that grows commit by commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> str:
        """Runs git as nobody in particular."""
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, text: str) -> None:
        """Changes the contract."""
        (self.root / "protos").mkdir(exist_ok=True)
        (self.root / "protos" / "a.proto").write_text(text)

    def commit(self, message: str = "change") -> str:
        """Commits everything; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def history(tmp_path: Path) -> History:
    """An empty repository."""
    return History(tmp_path)


def test_without_a_commit_there_is_nothing_to_break(history: History) -> None:
    history.write("1")
    assert breaking.base_commit(history.root) is None


def test_the_first_contract_has_nothing_to_break(history: History) -> None:
    history.write("1")
    history.commit()
    assert breaking.base_commit(history.root) is None


def test_a_change_is_compared_with_the_last_commit(history: History) -> None:
    history.write("1")
    first = history.commit()
    history.write("2")
    assert breaking.base_commit(history.root) == first


def test_a_committed_change_is_compared_with_the_contract_before_it(history: History) -> None:
    history.write("1")
    first = history.commit()
    history.write("2")
    history.commit()
    history.commit("elsewhere")
    assert breaking.base_commit(history.root) == first


def test_a_break_that_its_commit_owns_up_to_is_let_through(history: History) -> None:
    history.write("1")
    history.commit()
    history.write("2")
    history.commit("Drop a field\n\nBreaking-Contract: nobody used it")
    assert breaking.base_commit(history.root) is None
