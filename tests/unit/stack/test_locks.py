"""What is taken from elsewhere is what the locks say."""

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stack import jars
from stack.commands import setup
from stack.jars import Jar
from stack.layout import ROOT


def test_the_lock_has_every_version_that_the_project_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"].values()
    pins = [*project["project"]["dependencies"], *(pin for group in groups for pin in group if isinstance(pin, str))]
    locked = set(re.findall(r"^[\w.-]+==[\w.]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {re.sub(r"\[.*\]", "", pin).lower() for pin in pins} - locked == set()


def test_every_jar_is_locked_by_coordinates_and_digest() -> None:
    locked = jars.locked()
    assert ("org.apache.kafka", "kafka_2.13", "4.3.1") in [jar[:3] for jar in locked]
    assert all(len(jar.digest) == hashlib.sha256().digest_size * 2 for jar in locked)
    assert len({jar.file for jar in locked}) == len(locked)


def test_a_jar_that_is_there_and_as_locked_is_taken(tmp_path: Path) -> None:
    jar = Jar("org.example", "library", "1", hashlib.sha256(b"content").hexdigest())
    (tmp_path / jar.file).write_bytes(b"content")
    assert jars.fetch(jar, tmp_path) == tmp_path / jar.file


def test_a_jar_with_another_content_is_refused_and_removed(tmp_path: Path) -> None:
    jar = Jar("org.example", "library", "1", hashlib.sha256(b"content").hexdigest())
    (tmp_path / jar.file).write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"org\.example\.library-1\.jar is not the jar that jars\.lock pins"):
        jars.fetch(jar, tmp_path)
    assert not (tmp_path / jar.file).exists()


@pytest.mark.parametrize("stamp", ["", "another interpreter\n", "half"])
def test_an_environment_that_is_half_made_or_of_another_interpreter_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamp: str
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    (tmp_path / "stamp").write_text(stamp)
    monkeypatch.setattr(setup, "PYTHON", python)
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp")
    assert not setup.usable()


def test_setup_runs_on_a_python_with_nothing_installed() -> None:
    bare = subprocess.run(
        [sys.executable, "-S", "-c", "import stack.commands.setup"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stderr
