"""What the documents name exists: files, folders and `make` verbs.

A path counts when it is a relative link, or stands in backquotes and begins with a folder of the repository, or ends as
its files do.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.paths import ROOT

DOCUMENTS = ("*.md", "docs/**/*.md", "[!.]*/README.md", "services/*/README.md")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
VERB = re.compile(r"\bmake ([a-z][a-z-]*)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Written at run time or filled in by the reader.
ELSEWHERE = re.compile(r"[<>*{}…$]|^\.(?:venv|build|run)\b|\bNAME\b")
FILE = re.compile(r"\.(?:py|md|proto|toml|yaml|sql)$")
ANCHOR = re.compile(r"#L(\d+)$")


def documents(root: Path) -> list[Path]:
    """The documents that are checked."""
    return sorted({path for pattern in DOCUMENTS for path in root.glob(pattern)})


def verbs(root: Path) -> set[str]:
    """The verbs of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(), re.MULTILINE))


def missing_link(document: Path, target: str) -> bool:
    """Whether a relative link leads nowhere, or to a line that the file does not have."""
    if re.match(r"[a-z]+:|#", target):
        return False
    path = document.parent / target.split("#", maxsplit=1)[0]
    anchor = ANCHOR.search(target)
    if not path.exists():
        return True
    return anchor is not None and path.is_file() and len(path.read_text().splitlines()) < int(anchor[1])


def is_path(root: Path, text: str) -> bool:
    """Whether quoted text means a path of the repository."""
    head = text.split("/", maxsplit=1)[0]
    if "/" not in text or " " in text or not head or ELSEWHERE.search(text):
        return False
    return (root / head).is_dir() or FILE.search(text) is not None


def missing_in(root: Path, document: Path, known: set[str]) -> Iterator[str]:
    """What one document names in vain."""
    text = document.read_text()
    name = document.relative_to(root)
    for target in LINK.findall(text):
        if missing_link(document, target):
            yield f"{name}: links to {target}, which is not there"
    for quoted in QUOTED.findall(FENCE.sub("", text)):
        path = quoted.split(":")[0].split("#")[0]
        if is_path(root, path) and not (root / path).exists():
            yield f"{name}: names {path}, which is not there"
    for verb in VERB.findall("\n".join([*QUOTED.findall(text), *FENCE.findall(text)])):
        if verb not in known:
            yield f"{name}: names `make {verb}`, which the Makefile does not have"


def complaints(root: Path = ROOT) -> list[str]:
    """Everything that any document names in vain."""
    known = verbs(root)
    return [complaint for document in documents(root) for complaint in missing_in(root, document, known)]


if __name__ == "__main__":
    found = complaints()
    if found:
        sys.exit("\n".join(found))
    print(f"documents: every path and verb of {len(documents(ROOT))} files exists")
