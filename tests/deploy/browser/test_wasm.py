"""The WebAssembly module gives the bits of `hdlif.Session`, in Node, and is small."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import every
from deployed_graphs import random_input, residual_network, two_streams
from hdlif.deploy import browser as wasm
from hdlif.graph.artefact import Graph, TaskRecord, save
from hdlif.graph.learning import Level
from hdlif.runtime import Session
from hdlif.runtime.learning import Learner, LearningRate, numbered
from native.checks import write_cases
from runtime.test_learning import every_trained_op
from series_networks import series_network

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "packages/hdlif-wasm"
FILES = ROOT / "src/hdlif/deploy/browser"
LARGEST = 160_000
"""Bytes of the module as pages and the wheel carry it, compressed."""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("module") / "hdlif.wasm"
    path.write_bytes(wasm.module())
    return path


def run(*command: str | Path, **settings: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return str(done.stdout)


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs node")
    return found


def cases(folder: Path, random_graphs: int) -> list[Path]:
    with np.errstate(all="ignore"):
        write_cases.main(folder, random_graphs)
    return sorted(folder.iterdir())


def test_the_committed_module_is_of_the_sources_as_they_are() -> None:
    """Comments and spaces apart."""
    now = run(sys.executable, ROOT / "native/wasm/sources.py")
    assert now == (ROOT / "native/wasm/sources.sha256").read_text(), "native/ has changed: run make wasm, and commit it"


@pytest.mark.parametrize("random_graphs", [6, pytest.param(150, marks=pytest.mark.slow)])
def test_the_module_gives_the_bits_of_the_session(module: Path, tmp_path: Path, random_graphs: int) -> None:
    found = cases(tmp_path, random_graphs)
    said = run(node(), ROOT / "tests/deploy/browser/check_cases.mjs", FILES / "hdlif.js", module, *found)
    assert said == f"{len(found)} cases\n"


UNTIL_SURE = """
import { readFileSync } from "node:fs";
const [script, module, artefact, input] = process.argv.slice(2);
const { instantiate } = await import(script);
const network = (await instantiate(readFileSync(module))).open(readFileSync(artefact));
const { frames, steps, confidences } = JSON.parse(readFileSync(input, "utf-8"));
const run = (confidence) => frames.map((frame) => {
  const options = confidence === null ? { steps } : { steps, confidence };
  const found = network.runUntilSure(Float32Array.from(frame), options);
  return [[...found.logits], found.steps];
});
const refused = [2, NaN].map((confidence) => {
  try {
    run(confidence);
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify({ found: confidences.map(run), refused }));
"""


@every("combine", "static", of=[("mean", True), ("last", False)])
def test_early_exit_decides_as_the_session(combine: str, static: bool, module: Path, tmp_path: Path) -> None:
    graph = residual_network() if static else series_network()
    graph = replace(graph, task=TaskRecord("classify", combine), confidence=0.97)
    steps, confidences = 9, (None, 0, 0.5, 0.9, 1)
    x = random_input(graph, 1 if static else steps, 12)
    save(graph, tmp_path / "net")
    (tmp_path / "until_sure.mjs").write_text(UNTIL_SURE)
    given = {"frames": [x[:, k].ravel().tolist() for k in range(12)], "steps": steps, "confidences": confidences}
    (tmp_path / "x").write_text(json.dumps(given))
    paths = (FILES / "hdlif.js", module, tmp_path / "net", tmp_path / "x")
    printed = json.loads(run(node(), tmp_path / "until_sure.mjs", *paths))
    for confidence, found in zip(confidences, printed["found"], strict=True):
        early = Session(graph).run(x, steps, confidence="auto" if confidence is None else confidence)
        assert [taken for _, taken in found] == early.steps.tolist()
        np.testing.assert_array_equal(np.array([logits for logits, _ in found], np.float32), early.logits)
    assert [text.partition(";")[0] for text in printed["refused"]] == ["confidence is 2", "confidence is NaN"]


LEARN = """
import { readFileSync } from "node:fs";
const [script, module, artefact, input] = process.argv.slice(2);
const { instantiate } = await import(script);
const { trained, sequences, targets, x } = JSON.parse(readFileSync(input, "utf-8"));
const learner = (await instantiate(readFileSync(module))).learner(readFileSync(artefact), trained);
const refused = [() => learner.update(), () => learner.step(Float32Array.from(sequences[0][0]), 0, [0])].map((call) => {
  try {
    call();
  } catch (error) {
    return error.status;
  }
});
const logits = sequences.map((frames, k) => {
  const steps = frames.map((frame, t) => [...learner.step(Float32Array.from(frame), t, t % 2 ? null : targets[k])]);
  learner.update();
  return steps;
});
const network = learner.network();
learner.close();
console.log(JSON.stringify({ logits, after: [...network.run(Float32Array.from(x), { batch: 2 })], refused }));
"""


@every("make", "level", of=[(residual_network, "all"), (every_trained_op, "all"), (two_streams, "classifier")])
def test_the_learner_gives_the_bits_of_python(make: type, level: Level, module: Path, tmp_path: Path) -> None:
    graph: Graph = make()
    rate = LearningRate(0.05, 0.1, 0.5)
    learner = Learner(graph, level, rate=rate)
    save(graph, tmp_path / "net")
    (tmp_path / "learn.mjs").write_text(LEARN)
    sequences, targets = [random_input(graph, graph.time_steps, 2, seed=k) for k in range(3)], [[0, 1], [2, 2], [1, 0]]
    places, needed = numbered(graph, learner.places)
    given = {
        "trained": {"places": places, "needed": needed, "rate": [rate.floats, rate.latents, rate.momentum]},
        "sequences": [x.reshape(len(x), -1).tolist() for x in sequences],
        "targets": targets,
        "x": sequences[0].ravel().tolist(),
    }
    (tmp_path / "x").write_text(json.dumps(given))
    paths = (FILES / "hdlif.js", module, tmp_path / "net", tmp_path / "x")
    found = json.loads(run(node(), tmp_path / "learn.mjs", *paths))
    for x, classes, logits in zip(sequences, targets, found["logits"], strict=True):
        state = None
        for t, frame in enumerate(x):
            expected, state = learner.step(frame, state, targets=None if t % 2 else classes)
            np.testing.assert_array_equal(np.array(logits[t], np.float32), expected.ravel())
        learner.update()
    after = Session(learner.graph).run(sequences[0])
    np.testing.assert_array_equal(np.array(found["after"], np.float32), after.ravel())
    assert found["refused"] == [1, 1]


def test_the_module_is_small_and_imports_a_clock_alone(module: Path) -> None:
    assert len(wasm.packed_module()) < LARGEST
    listed = run(
        node(),
        "-e",
        "const m = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));"
        "const names = (of) => WebAssembly.Module[of](m).map((entry) => entry.name);"
        "console.log(JSON.stringify([names('imports'), names('exports')]))",
        module,
    )
    imports, exports = json.loads(listed)
    assert set(imports) <= {"clock_time_get", "emscripten_notify_memory_growth"}
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "include/hdlif.h").read_text(), flags=re.S)
    assert {name for name in exports if name.startswith("hdlif_")} == set(re.findall(r"\b(hdlif_\w+)\(", header)) - {
        "hdlif_open_file"
    }


def test_the_script_imports_nothing_and_its_types_name_what_it_has() -> None:
    script, types = wasm.script(), (FILES / "hdlif.d.ts").read_text()
    assert not re.search(r"\bimport\b", script.split("*/", 1)[1].replace("imports", ""))
    exported = re.findall(r"^export (?:async )?(?:class|function) (\w+)", script, re.M)
    assert exported == re.findall(r"^export (?:class|function) (\w+)", types, re.M)
    for kind in ("Runtime", "Network", "Stream", "Learner"):
        (body,) = re.findall(rf"export interface {kind} {{(.*?)\n}}", types, re.S)
        (own,) = re.findall(rf"^class {kind} {{(.*?)\n}}", script, re.M | re.S)
        for name in re.findall(r"^  (?:readonly )?(\w+)[?(:]", body, re.M):
            assert re.search(rf"(?:get {name}\(|^  {name}\(|this\.{name} = )", own, re.M), (kind, name)


def test_the_package_has_its_files_and_runs(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    home = {**os.environ, "HOME": str(tmp_path), "npm_config_cache": str(tmp_path / "cache")}
    for folder in ("packages/hdlif-wasm", "src/hdlif/deploy/browser"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    run("npm", "pack", "--silent", cwd=tmp_path / "packages/hdlif-wasm", env=home)
    (archive,) = (tmp_path / "packages/hdlif-wasm").glob("*.tgz")
    installed = tmp_path / "user/node_modules/hdlif-wasm"
    installed.mkdir(parents=True)
    shutil.unpack_archive(archive, tmp_path / "unpacked", "gztar")
    shutil.copytree(tmp_path / "unpacked/package", installed, dirs_exist_ok=True)
    assert {path.name for path in installed.iterdir()} == {
        *("README.md", "answers.d.ts", "answers.js", "hdlif.d.ts", "hdlif.js", "hdlif.wasm", "package.json")
    }
    (code,) = re.findall(r"```js\n(.*?)```", (PACKAGE / "README.md").read_text("utf-8"), re.S)
    shutil.copy(ROOT / "tests/graph/artefact/tiny.hdlif.safetensors", tmp_path / "user/digits.hdlif.safetensors")
    (tmp_path / "user/first.mjs").write_text(code + "console.log(runtime.version, logits.length, stream.steps);\n")
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    assert run(node(), "first.mjs", cwd=tmp_path / "user") == f"{version} 14 1\n"
    (tmp_path / "user/second.mjs").write_text(
        'import { answerOf } from "hdlif-wasm/answers.js";\nconsole.log(answerOf.name);\n'
    )
    assert run(node(), "second.mjs", cwd=tmp_path / "user") == "answerOf\n"
