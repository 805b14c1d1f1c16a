"""`buf breaking`: no change to protos/ may break a client of the contract as it was committed before.

Uncommitted changes are compared with HEAD; a clean tree compares its newest contract with the one before it, so that
the check means something in CI too. An intended break is declared in the commit that makes it, by a line
`Breaking-Contract: why` in its message.
"""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools import generate, proto_deps
from tools.paths import BUF, BUILD, PROTO_DEPS, ROOT

TRAILER = "Breaking-Contract"


def git(*arguments: str, root: Path = ROOT) -> bytes | None:
    """What git prints, or None when it refuses."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def words(*arguments: str, root: Path = ROOT) -> str:
    """What git prints as text; empty when it refuses."""
    return (git(*arguments, root=root) or b"").decode().strip()


def base_commit(root: Path = ROOT) -> str | None:
    """The commit to compare with; None when there is nothing before, or the break is owned up to."""
    if words("status", "--porcelain", "--", "protos", root=root):
        return words("rev-parse", "--verify", "HEAD", root=root) or None
    newest = words("rev-list", "--max-count=1", "HEAD", "--", "protos", root=root)
    if not newest or words("log", "-1", f"--format=%(trailers:key={TRAILER})", newest, root=root):
        return None
    return words("rev-parse", "--verify", f"{newest}^", root=root) or None


def image_of(commit: str) -> Path | None:
    """The contract of a commit, compiled with today's settings; None when it had no contract."""
    archive = git("archive", commit, "protos")
    if archive is None:
        return None
    folder = generate.emptied(BUILD / "against")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    shutil.copytree(PROTO_DEPS, folder / ".build" / "proto-deps")
    shutil.copyfile(ROOT / "buf.yaml", folder / "buf.yaml")
    image = BUILD / "against.binpb"
    generate.run(BUF, "build", "protos", "-o", image, cwd=folder)
    return image


def main() -> None:
    """Exits with what breaks, if anything does."""
    proto_deps.fill()
    commit = base_commit()
    image = image_of(commit) if commit else None
    if image is None:
        shallow = words("rev-parse", "--is-shallow-repository") == "true"
        missing = "NOT COMPARED: `git fetch --unshallow` brings the history" if shallow else "no earlier contract"
        print(f"breaking: {missing}, or the newest commit of it owns up to a break")
        return
    try:
        generate.run(BUF, "breaking", "protos", "--against", image)
    except SystemExit as failure:
        sys.exit(f"{failure.code}\nAn intended break needs the line `{TRAILER}: why` in the message of its commit.")
    print(f"breaking: compatible with {commit[:12] if commit else ''}")


if __name__ == "__main__":
    main()
