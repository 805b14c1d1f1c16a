"""Creates a service: `make new-service NAME=x`, with ENTITY=y when its resource is not named x without the final s.

Copies the smallest working shape (template/): a contract with a create, a get and a list, every file of a service, the
first migration, a README, and tests of every level; enters the service and its topic into services.toml.
"""

import keyword
import re
import sys
import tomllib
from pathlib import Path

from tools import generate
from tools.paths import BUF, ROOT, VENV_BIN

TEMPLATE = Path(__file__).with_name("template")
SUFFIX = ".tmpl"
PORT_STEP = 10
TOPICS = re.compile(r"^(?:#.*\n)*\[topics\]\nnames = \[[^\]]*\"", re.MULTILINE)
"""From the comment before the topics to the last topic."""
# Would shadow a module of the standard library, or is taken by the contract itself.
TAKEN = {"policy", "type"}


class NewServiceError(Exception):
    """The service cannot be created; the message says why."""


def names(name: str, entity: str) -> dict[str, str]:
    """The values of the template's placeholders; raises NewServiceError for invalid names."""
    for word in (name, entity):
        if not re.fullmatch(r"[a-z][a-z]{2,20}", word) or keyword.iskeyword(word) or word in TAKEN:
            raise NewServiceError(f"{word!r} will not do: 3 to 21 small letters, no word of Python or of the contract")
    return {
        "name": name,
        "entity": entity,
        "entities": f"{entity}s",
        "Entity": entity.title(),
        "Entities": f"{entity.title()}s",
        "ENTITY": entity.upper(),
        "ENTITIES": f"{entity.upper()}S",
    }


def filled(text: str, words: dict[str, str]) -> str:
    """A text with its placeholders replaced."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words[found[1]], text)


def target(template: Path, words: dict[str, str]) -> Path:
    """The path of a template's file in the repository."""
    inside = str(template.relative_to(TEMPLATE)).removesuffix(SUFFIX)
    return Path(inside.replace("NAME", words["name"]).replace("ENTITY", words["entity"]))


def next_port(registry: str) -> int:
    """A free port offset, after those of all services."""
    tables = tomllib.loads(registry)
    return max(int(table["port"]) for table in tables.values() if "port" in table) + PORT_STEP


def with_service(registry: str, name: str) -> str:
    """services.toml with the new service before the topics, and its topic after the others."""
    entry = f"""[{name}]
port = {next_port(registry)}
schema = "{name}"
publishes = ["{name}-events"]
consumes = ["user-events"]
replicas = 1

"""
    topics = TOPICS.search(registry)
    if not topics:
        raise NewServiceError("services.toml has no [topics] with names to enter one into")
    begin, end = topics.start(), topics.end()
    return f'{registry[:begin]}{entry}{registry[begin:end]}, "{name}-events"{registry[end:]}'


def copy(root: Path, words: dict[str, str]) -> list[Path]:
    """Writes the files of the new service; raises NewServiceError when one of them exists."""
    files = {target(path, words): path for path in sorted(TEMPLATE.rglob(f"*{SUFFIX}"))}
    there = [str(path) for path in files if (root / path).exists()]
    if there or (root / "services" / words["name"]).exists():
        raise NewServiceError(f"there is a service {words['name']} already: {', '.join(there)}")
    for path, template in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(filled(template.read_text(), words))
    return list(files)


def begin(root: Path, name: str, entity: str) -> list[Path]:
    """Creates the service and registers it in services.toml; raises NewServiceError before anything is written."""
    words = names(name, entity)
    registry = root / "services.toml"
    entered = with_service(registry.read_text(), name)
    written = copy(root, words)
    registry.write_text(entered)
    # Line breaks depend on the length of the names, and the order of imports on their first letters.
    python = [root / path for path in written if path.suffix == ".py"]
    generate.run(VENV_BIN / "ruff", "format", "--quiet", "--config", ROOT / "pyproject.toml", *python)
    for path in written:
        if path.suffix == ".proto":
            generate.run(BUF, "format", "--write", root / path)
    return written


def main(arguments: list[str]) -> None:
    """Creates the service and prints the next steps."""
    if not arguments:
        sys.exit("new-service: say its name: make new-service NAME=notes")
    name = arguments[0]
    entity = arguments[1] if len(arguments) > 1 else name.removesuffix("s")
    try:
        written = begin(ROOT, name, entity)
    except NewServiceError as error:
        sys.exit(f"new-service: {error}")
    for path in written:
        print(f"  {path}")
    print("also changed: services.toml")
    print(f"next: make proto fmt lint && make test T=unit/{name} && make down up")


if __name__ == "__main__":
    main(sys.argv[1:])
