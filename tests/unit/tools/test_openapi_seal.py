"""Without Go, the seal of the OpenAPI document tells what is stale or was edited."""

from pathlib import Path

import pytest

from tools import openapi_seal


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed document."""
    monkeypatch.setattr(openapi_seal, "ROOT", tmp_path)
    monkeypatch.setattr(openapi_seal, "inputs_digest", lambda: "today's contract")
    path = tmp_path / "openapi.yaml"
    path.write_text(openapi_seal.sealed({"openapi": "3.1.0", "info": {"title": "A", "description": "one\ntwo"}}))
    return path


def test_a_sealed_document_has_nothing_to_complain_about(document: Path) -> None:
    assert openapi_seal.complaint(document) is None


def test_an_edited_document_is_found(document: Path) -> None:
    document.write_text(document.read_text().replace("title: A", "title: B"))
    assert openapi_seal.complaint(document) == "gen/openapi/openapi.yaml was edited by hand"


def test_a_document_without_a_seal_is_found(document: Path) -> None:
    document.write_text("openapi: 3.1.0\n")
    assert openapi_seal.complaint(document) == "gen/openapi/openapi.yaml was edited by hand"


def test_a_document_of_another_contract_is_found(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_seal, "inputs_digest", lambda: "tomorrow's contract")
    assert openapi_seal.complaint(document) == "gen/openapi/openapi.yaml is older than what it is made from"


def test_a_missing_document_is_found(document: Path) -> None:
    document.unlink()
    assert openapi_seal.complaint(document) == "openapi.yaml is missing"


def test_every_maker_of_the_document_counts() -> None:
    named = {str(path.relative_to(openapi_seal.ROOT)) for path in openapi_seal.inputs()}
    assert {*openapi_seal.MAKERS, "protos/focusmesh/todo/v1/task.proto", "services/todo/errors.py"} <= named
    assert all(path.exists() for path in openapi_seal.inputs())
