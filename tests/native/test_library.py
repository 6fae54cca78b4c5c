"""The library for C and C++, as it is built, installed, found and called (docs/how_to/running.md)."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from c_interface import Library
from c_networks import fresh
from cases import every
from deployed_graphs import random_input, residual_network, two_streams
from hdlif.graph.artefact import InputRecord, dumps, save
from hdlif.runtime import Session, normalise, probabilities
from native.test_checks import ROOT, run, tool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake"),
    pytest.mark.skipif(sys.platform != "linux", reason="nm and sonames as on Linux"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """An artefact, frames in both forms, and the lines that are to be printed of them."""
    folder = tmp_path_factory.mktemp("pictures")
    graph = residual_network(width=8)
    record = InputRecord(graph.input.shape, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    graph = type(graph)(graph.nodes, graph.output, graph.time_steps, record, ("cat", "dog", "größer"))
    save(graph, folder / "net.hdlif.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (6, *record.shape)).astype(np.uint8)
    np.save(folder / "frames.npy", pixels)
    pixels.astype(np.float32).tofile(folder / "frames.f32")
    np.save(folder / "floats.npy", pixels.astype(np.float32))
    session = Session(graph, 1)
    found = probabilities(session.run(normalise(pixels, record)[None]))[-1]
    lines = [f"{i}: {graph.labels[p.argmax()]} ({100 * p.max():.1f}%)" for i, p in enumerate(found)]
    return folder, folder / "net.hdlif.safetensors", lines


def blocks(language: str) -> list[str]:
    """The code of the page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/how_to/running.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, pictures: tuple[Path, Path, list[str]]) -> tuple[Path, str]:
    """A copy of the sources in which every command of the page has run, one after the other, and what they printed."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("CMakeLists.txt", "examples", "include", "native"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for name in ("net.hdlif.safetensors", "frames.npy"):
        shutil.copy(pictures[0] / name, folder)
    script = "set -e\ncd " + shlex.quote(str(folder)) + "\n" + "".join(blocks("sh"))
    return folder, run("bash", "-c", script, timeout=1200)


@pytest.fixture(scope="module")
def installed(tree: tuple[Path, str]) -> Path:
    return tree[0] / "build/prefix"


def test_the_commands_of_the_page_print_classes(tree: tuple[Path, str], pictures: tuple[Path, Path, list[str]]) -> None:
    lines = tree[1].splitlines()[-12:]
    assert lines[:6] == pictures[2]
    assert lines[6] != lines[0]


def test_only_its_own_names_are_exported(installed: Path) -> None:
    header = (installed / "include/hdlif.h").read_text()
    declared = set(re.findall(r"\b(hdlif_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    lines = run(tool("nm"), "-D", "--defined-only", installed / "lib/libhdlif.so").splitlines()
    exported = {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}
    assert exported == declared
    assert len(declared) > 30


def test_the_soname_is_of_the_version(installed: Path) -> None:
    """That of the next release, which pyproject.toml states for copies without tags; the header has it too."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]["fallback_version"]
    major, minor, patch = re.match(r"(\d+)\.(\d+)\.(\d+)", version).groups()  # type: ignore[union-attr]
    soname = f"libhdlif.so.{major}.{minor}" if major == "0" else f"libhdlif.so.{major}"
    assert f"[{soname}]" in run(tool("readelf"), "-d", installed / "lib/libhdlif.so")
    assert (installed / f"lib/libhdlif.so.{major}.{minor}.{patch}").is_file()
    assert Library(installed / "lib/libhdlif.so").version() == f"{major}.{minor}.{patch}".encode()


def test_the_header_is_c89_to_c_plus_plus_20(installed: Path, tmp_path: Path) -> None:
    for language, standards in {"c": ("c90", "c99", "c17"), "c++": ("c++11", "c++17", "c++20")}.items():
        source = tmp_path / "include.c"
        source.write_text("#include <hdlif.h>\nconst char* version(void) { return hdlif_version(); }\n")
        for standard in standards:
            strict = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{installed}/include")
            # an integer of 64 bits is none of C90's own types, which pedantry says of the system's header
            run("gcc", f"-x{language}", f"-std={standard}", *strict, "-Wno-long-long", source)


@every(kind=["hdlif", "static"])
def test_the_example_builds_against_the_package_and_names_classes(
    installed: Path, pictures: tuple[Path, Path, list[str]], tmp_path: Path, kind: str
) -> None:
    folder, artefact, lines = pictures
    tmp_path = fresh(tmp_path)
    source = shutil.copytree(ROOT / "examples/cpp", tmp_path / "cpp")
    text = (source / "CMakeLists.txt").read_text()
    (source / "CMakeLists.txt").write_text(text.replace("PRIVATE hdlif::hdlif", f"PRIVATE hdlif::{kind}"))
    strict = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"
    run("cmake", "-S", source, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}", strict)
    run("cmake", "--build", tmp_path / "build")
    program = tmp_path / "build/classify_frames"
    needed = run(tool("readelf"), "-d", program)
    assert ("libhdlif" in needed) == (kind == "hdlif")
    for name in ("frames.npy", "frames.f32", "floats.npy"):
        assert run(program, artefact, folder / name).splitlines() == lines
    stream = run(program, artefact, folder / "frames.npy", "--stream").splitlines()
    assert [line.split(":")[0] for line in stream] == [str(i) for i in range(6)]
    assert stream[0] != stream[-1]
    (tmp_path / "cut.npy").write_bytes((folder / "frames.npy").read_bytes()[:-1])
    for arguments, said in (
        ((artefact, tmp_path / "cut.npy"), "a frame has 189"),
        ((artefact, tmp_path / "absent"), "cannot be read"),
        ((folder / "frames.npy", folder / "frames.npy"), "is not a model file"),
        ((artefact,), "usage"),
    ):
        found = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert (found.returncode, said in found.stderr) == (2, True), found.stderr


@every(static=[False, True])
def test_pkg_config_names_what_a_program_takes(
    installed: Path, pictures: tuple[Path, Path, list[str]], tmp_path: Path, static: bool
) -> None:
    folder, artefact, lines = pictures
    settings = {"PKG_CONFIG_PATH": str(installed / "lib/pkgconfig"), "LD_LIBRARY_PATH": str(installed / "lib")}
    pkg_config = tool("pkg-config", "pkgconf")
    flags = run(pkg_config, "--cflags", "--libs", *(["--static"] if static else []), "hdlif", **settings).split()
    if static:
        flags = [str(installed / "lib/libhdlif.a") if flag == "-lhdlif" else flag for flag in flags]
    sources = sorted((ROOT / "examples/cpp").glob("*.cpp"))
    program = tmp_path / "classify"
    run(tool("g++"), "-std=c++17", *sources, "-o", program, *flags)
    assert run(program, artefact, folder / "frames.npy", **settings).splitlines() == lines


def test_a_library_that_was_built_gives_the_bits_of_the_extension(installed: Path) -> None:
    graph = two_streams()
    x = random_input(graph, 3, 2)
    network = Library(installed / "lib/libhdlif.so").network(dumps(graph), threads=2)
    np.testing.assert_array_equal(network.run(x, 3), Session(graph, 1).run(x))


def test_the_program_of_the_page_runs(installed: Path, pictures: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    source = tmp_path / "page.c"
    source.write_text(blocks("c")[0])
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    library = (f"-I{installed}/include", f"-L{installed}/lib", f"-Wl,-rpath,{installed}/lib", "-lhdlif")
    run("gcc", *strict, source, "-o", tmp_path / "page", *library)
    printed = dict(line.split() for line in run(tmp_path / "page", pictures[1]).splitlines())
    session = Session(pictures[1], 1)
    expected, _ = session.step(np.zeros((1, *session.input.shape), np.float32))
    assert [np.float32(text) for text in printed.values()] == list(expected[0])
    assert tuple(printed) == session.labels
