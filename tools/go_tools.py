"""Tools that only Go builds, pinned by tools/go.mod and go.sum, into .build/bin: `make tools`."""

import os
import shutil
import subprocess
import sys
import time

from tools.paths import BUILD, ROOT

BIN = BUILD / "bin"
TOOLS = ("github.com/sudorandom/protoc-gen-connect-openapi", "github.com/fullstorydev/grpcurl/cmd/grpcurl")


def install(tool: str) -> None:
    """Builds one tool with the versions of go.sum; up to a minute the first time."""
    name = tool.rsplit("/", 1)[1]
    print(f"tools: building {name} …", flush=True)
    started = time.monotonic()
    environment = {**os.environ, "GOBIN": str(BIN), "GOFLAGS": "-mod=readonly"}
    done = subprocess.run(["go", "-C", str(ROOT / "tools"), "install", tool], env=environment, check=False)
    if done.returncode:
        sys.exit(f"tools: {name} did not build")
    print(f"tools: {name} built in {time.monotonic() - started:.0f} s")


def main() -> None:
    """Builds every tool."""
    if not shutil.which("go"):
        sys.exit("tools: Go 1.26 or newer is needed to build grpcurl and the OpenAPI plugin; nothing else needs it")
    for tool in TOOLS:
        install(tool)


if __name__ == "__main__":
    main()
