"""Everything that is derived from protos/, from one image of the contract: `make proto`.

gen/python   messages, typed stubs and the scopes of users, on the path of every service
gen/stubs    types of google.* for mypy
gen/contract the contract with its comments and all that it imports, for stubs in any language (docs/clients.md)
gen/gateway  the descriptor set that the gateway transcodes with
gen/openapi  the document of the REST API
docs/rpcs.md the index of RPCs

All of it is committed; `python -m tools.drift` fails when it is not what protos/ give.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from contract import descriptors
from contract.descriptors import Contract
from tools import proto_deps
from tools.paths import BUF, BUILD, GEN, IMAGE, PROTOS, ROOT, RPC_INDEX, VENV_BIN


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Runs a tool of the virtual environment; exits with its output when it fails."""
    environment = {
        **os.environ,
        "PATH": f"{VENV_BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{GEN / 'python'}",
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


def protoc(image: Path, *arguments: str) -> None:
    """Runs protoc on an image, so that it parses no file itself."""
    run(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}", *arguments)


def emptied(folder: Path) -> Path:
    """The folder, there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def build_image() -> None:
    """Compiles protos/ into the one image that every generator reads; whoever reads it meanwhile sees a whole one."""
    proto_deps.fill()
    fresh = IMAGE.with_name(f"image.{os.getpid()}.binpb")
    run(BUF, "build", "protos", "-o", fresh)
    fresh.replace(IMAGE)


@cache
def contract() -> Contract:
    """The contract as protos/ say now, comments included."""
    build_image()
    return descriptors.load(IMAGE)


def published(out: Path) -> None:
    """Writes the image that strangers generate from: of whole files, but only our comments."""
    image = FileDescriptorSet.FromString(IMAGE.read_bytes())
    for file in image.file:
        kept = [place for place in file.source_code_info.location if place.leading_comments or place.trailing_comments]
        file.ClearField("source_code_info")
        if file.name.startswith(descriptors.OWN):
            file.source_code_info.location.extend(kept)
    out.mkdir(parents=True, exist_ok=True)
    (out / "contract.binpb").write_bytes(image.SerializeToString(deterministic=True))


def gateway(out: Path) -> None:
    """Writes the descriptor set of the whole workspace.

    It must hold google.rpc's error details: with a detail type that it does not know, the gateway empties the whole
    error body.
    """
    out.mkdir(parents=True, exist_ok=True)
    run(BUF, "build", "-o", out / "gateway.binpb", "--as-file-descriptor-set", "--exclude-source-info")


def python(out: Path, stubs: Path, descriptor_set: Path) -> None:
    """Writes messages, service stubs and their types."""
    emptied(out)
    emptied(stubs)
    own = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [name for name in own if name.endswith("_service.proto")]
    protoc(IMAGE, f"--python_out={out}", f"--mypy_out=quiet:{out}", *own, proto_deps.VALIDATE)
    protoc(IMAGE, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet,only_async:{out}", *services)
    protoc(descriptor_set, f"--mypy_out=quiet:{stubs}", *proto_deps.GOOGLE)


def generate(out: Path, index: Path) -> None:
    """Writes everything under a folder shaped like gen/, and the index of RPCs."""
    build_image()
    published(out / "contract")
    gateway(out / "gateway")
    python(out / "python", out / "stubs", out / "gateway" / "gateway.binpb")
    run(sys.executable, "-m", "tools.scopes", out / "python" / "focusmesh" / "scopes.py")
    run(sys.executable, "-m", "tools.rpc_index", index)
    run(sys.executable, "-m", "tools.openapi", out / "openapi" / "openapi.yaml")


def mirror(fresh: Path, kept: Path) -> None:
    """Makes one folder hold what the other does, touching only what differs: another process may be reading it."""
    made = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for path in list(kept.rglob("*.*")):
        if path.is_file() and path.suffix != ".pyc" and path.relative_to(kept) not in made:
            path.unlink()
    for name in made:
        old, new = kept / name, fresh / name
        if not old.exists() or old.read_bytes() != new.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            new.replace(old)


def main() -> None:
    """Regenerates what is committed."""
    fresh = emptied(BUILD / "fresh")
    generate(fresh, RPC_INDEX)
    for made in fresh.iterdir():
        mirror(made, GEN / made.name)


if __name__ == "__main__":
    main()
