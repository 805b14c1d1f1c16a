"""Stubs come from the repository alone: what a generator gets from a template of buf and the published image."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest

from tools.paths import BUF, ROOT

TEMPLATES = sorted(ROOT.glob("buf.gen.*.yaml"))
IMAGE = "gen/contract/contract.binpb"
# A generator that writes down what it is asked for.
PLUGIN = """
import base64, sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorResponse
asked = base64.b64encode(sys.stdin.buffer.read()).decode()
answer = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
answer.file.add(name="asked", content=asked)
sys.stdout.buffer.write(answer.SerializeToString())
"""


def asked_by(template: Path, folder: Path) -> CodeGeneratorRequest:
    """What a template asks of its generators, in a folder that holds the image and nothing else."""
    (folder / IMAGE).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / IMAGE, folder / IMAGE)
    (folder / "plugin.py").write_text(PLUGIN)
    plugin = {"local": [sys.executable, "plugin.py"], "out": ".", "strategy": "all"}
    told = yaml.safe_load(template.read_text()) | {"plugins": [plugin]}
    (folder / "buf.gen.yaml").write_text(yaml.safe_dump(told))
    done = subprocess.run([BUF, "generate"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return CodeGeneratorRequest.FromString(base64.b64decode((folder / "asked").read_text()))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_generators_get_the_contract_with_comments_and_nothing_that_only_the_server_reads(
    template: Path, tmp_path: Path
) -> None:
    asked = asked_by(template, tmp_path)
    ours = {str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto")}
    assert set(asked.file_to_generate) == ours - {"focusmesh/policy/v1/policy.proto"}
    files = {file.name: file for file in asked.proto_file}
    assert {name.rsplit("/", 1)[0] for name in files.keys() - ours} == {"google/protobuf", "google/rpc"}
    comments = [place.leading_comments for place in files["focusmesh/todo/v1/task.proto"].source_code_info.location]
    assert any(comments)


def test_there_is_a_template_for_each_language_that_the_document_shows() -> None:
    text = (ROOT / "docs" / "clients.md").read_text()
    assert {path.name for path in TEMPLATES} == {
        f"buf.gen.{name}.yaml" for name in ("go", "typescript", "java") if f"buf.gen.{name}.yaml -o" in text
    }
