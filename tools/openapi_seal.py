"""Tells without Go whether the committed OpenAPI document is what the contract gives.

The document carries the digest of everything it was made from, and of itself: a contract that changed and a document
edited by hand are both noticed on a machine that cannot run the plugin.
"""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from tools.paths import GEN, PROTOS, ROOT

DOCUMENT = GEN / "openapi" / "openapi.yaml"
SEAL = "x-generated"
HEADER = "# Generated from protos/ by `make proto`; never edited.\n"
# Besides the contract, what decides how the document looks.
MAKERS = (
    "buf.gen.yaml",
    "envoy/responses.py",
    "mesh/runtime/errors.py",
    "mesh/rpc/status.py",
    "tools/contract.py",
    "tools/go.sum",
    "tools/openapi_base.yaml",
    "tools/openapi_errors.py",
    "tools/openapi_finish.py",
    "tools/refusal_catalogue.py",
)


class Readable(yaml.SafeDumper):
    """Writes long text as blocks and everything in full, for people who read the file."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (yaml calls it so)
        """Never an anchor."""
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _block)


def inputs() -> list[Path]:
    """The files that the document is made from."""
    refusals = (ROOT / "services").glob("*/errors.py")
    return sorted([*PROTOS.rglob("*.proto"), *refusals, *(ROOT / name for name in MAKERS)])


def inputs_digest() -> str:
    """Changes whenever the document might."""
    whole = hashlib.sha256()
    for path in inputs():
        whole.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def text(document: dict[str, Any]) -> str:
    """A document as the file holds it."""
    return HEADER + yaml.dump(document, Dumper=Readable, sort_keys=False, allow_unicode=True, width=110)


def content_digest(document: dict[str, Any]) -> str:
    """The digest of a document without its seal."""
    bare = {name: value for name, value in document.items() if name != SEAL}
    return hashlib.sha256(text(bare).encode()).hexdigest()


def sealed(document: dict[str, Any]) -> str:
    """The text of a document with its seal."""
    seal = {"inputs": inputs_digest(), "content": content_digest(document)}
    return text({**document, SEAL: seal})


def complaint(path: Path = DOCUMENT) -> str | None:
    """What is wrong with the committed document, as far as can be told without the plugin."""
    if not path.exists():
        return f"{path.relative_to(ROOT)} is missing"
    document = yaml.safe_load(path.read_text())
    seal = document.get(SEAL, {})
    if seal.get("content") != content_digest(document):
        return "gen/openapi/openapi.yaml was edited by hand"
    if seal.get("inputs") != inputs_digest():
        return "gen/openapi/openapi.yaml is older than what it is made from"
    return None
