"""The runtime's own tests, built without Python: kernels against plain loops, sanitizers, other processors, a fuzzer.

They need a compiler, some of them clang, valgrind, or a cross-compiler and qemu; without, they are skipped.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = ROOT / "tests/native/checks"
KERNELS = ("chunk_test", "kernels_test", "low_bit_conv_test", "winograd_test")
TILES = ("gradient_tiles_test", "tiles_test")
X86 = platform.machine() in ("x86_64", "AMD64")
QUICK_TO_BUILD = ("-DHDLIF_OPTIMISATION=-O1", "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
"""For sanitizers: compiling with them takes longer than the tests that follow."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake"),
    pytest.mark.skipif(sys.platform != "linux", reason="sanitizers, nm and qemu as on Linux"),
]

Build = Callable[..., Path]


def tool(*names: str) -> str:
    """The first of the programs that there is."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs {' or '.join(names)}")
    return found


def run(*command: str | Path, timeout: int = 600, **environment: str) -> str:
    result = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        timeout=timeout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert result.returncode == 0, f"{command[0]}: exit code {result.returncode}\n{result.stdout[-4000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def build() -> Build:
    """Builds `targets` with `settings`, in a folder below build/ that is kept for the runs that follow."""

    def build(*targets: str, settings: tuple[str, ...] = ()) -> Path:
        folder = ROOT / "build/checks" / hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        run("cmake", "-S", ROOT, "-B", folder, "-DHDLIF_BUILD_CHECKS=ON", *settings)
        run("cmake", "--build", folder, "-j2", "--target", *targets, timeout=1200)
        return folder / "tests/native/checks"

    return build


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings of a build with sanitizers: clang's where they are, so that the fuzzer, which needs them, shares it."""
    # AddressSanitizer reports null pointers and accesses beyond objects itself.
    flags = "-fsanitize=address,undefined -fno-sanitize=null,object-size -fno-sanitize-recover=undefined -g1"
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cpp").write_text("int main() {}\n")
    for compiler in filter(None, map(shutil.which, ("clang++", *(f"clang++-{n}" for n in range(25, 13, -1))))):
        probe = [compiler, "-fsanitize=fuzzer-no-link,address", folder / "probe.cpp", "-o", folder / "probe"]
        if not subprocess.run(probe, capture_output=True).returncode:
            flags = f"-fsanitize=fuzzer-no-link {flags}"
            compilers = f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_C_COMPILER={compiler.replace('++', '')}"
            fuzzer = (*compilers, "-DHDLIF_BUILD_FUZZER=ON")
            break
    else:
        fuzzer = ()
    return (f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_C_FLAGS={flags}", *QUICK_TO_BUILD, *fuzzer)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every op, networks and 30 graphs of chance: with inputs, and with the logits that `hdlif.Session` gives."""
    folder = tmp_path_factory.mktemp("cases")
    paths = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    run(sys.executable, CHECKS / "write_cases.py", folder, "30", PYTHONPATH=paths)
    found = sorted(folder.iterdir())
    assert len(found) > 90
    return found


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files, of which most have a damage that only a reader of their form finds."""
    folder = tmp_path_factory.mktemp("artefacts")
    paths = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    run(sys.executable, CHECKS / "write_artefacts.py", folder, "800", PYTHONPATH=paths)
    return sorted(folder.iterdir())


def test_c99_gives_the_bits_of_the_session(build: Build, cases: list[Path], artefacts: list[Path]) -> None:
    """Built with -std=c99 -Wall -Wextra -Wpedantic -Werror."""
    folder = build("allocation_test", "c_interface_test", "replay")
    assert run(folder / "c_interface_test", *cases) == f"{len(cases)} cases\n"
    streams = [case / "artefact" for case in cases if case.name.endswith("_steps")]
    assert len(run(folder / "allocation_test", *streams).splitlines()) == len(streams)
    run(folder / "replay", *artefacts)


def draw(folder: Path, *under: str | Path, instructions: str = "all", **counts: int) -> str:
    """Compare kernels with plain loops on so many drawn inputs of each test, run by the program `under` it."""
    return "".join(run(*under, folder / f"{name}_test", instructions, str(count)) for name, count in counts.items())


def test_kernels(build: Build) -> None:
    folder = build(*KERNELS, *TILES)
    draw(folder, kernels=2000, chunk=2000, low_bit_conv=600, winograd=200)
    for name in TILES:
        run(folder / name, "200")


def test_instruction_sets_share_no_code(build: Build) -> None:
    """A function that two objects define weakly is linked once: perhaps with instructions that the machine lacks."""
    folder = build("kernels_test").parents[2]
    objects = list(folder.glob("CMakeFiles/hdlif_kernels_*.dir/native/kernels/instruction_set.cpp.o"))
    assert len(objects) >= (3 if X86 else 2)
    for path in objects:
        symbols = [line.split() for line in run(tool("nm"), "--defined-only", "--extern-only", path).splitlines()]
        # the table alone; its letter says read-only data
        assert [fields[1] in "RD" for fields in symbols] == [True], symbols


def test_address_and_undefined_behaviour(
    build: Build, cases: list[Path], artefacts: list[Path], sanitizers: tuple[str, ...]
) -> None:
    """Values are compared without sanitizers, by other draws: here fewer lead every kernel over its edges."""
    folder = build(*KERNELS, "c_interface_test", "replay", *TILES, settings=sanitizers)
    run(folder / "c_interface_test", *cases[::3])
    run(folder / "replay", *artefacts)
    draw(folder, kernels=300, chunk=300, low_bit_conv=60, winograd=15)
    for name in TILES:
        run(folder / name, "20")


def test_fuzzing(build: Build, artefacts: list[Path], tmp_path: Path, sanitizers: tuple[str, ...]) -> None:
    """Half a minute from the corpus; the target run alone goes on as long as one likes."""
    if "-DHDLIF_BUILD_FUZZER=ON" not in sanitizers:
        pytest.skip("needs clang's sanitizers (Debian: libclang-rt-dev)")
    folder = build("fuzz_artefact", settings=sanitizers)
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    corpus.mkdir()
    found.mkdir()
    for path in artefacts[:150]:
        shutil.copy(path, corpus)
    # of one input; what the target lets run takes milliseconds, with the sanitizers and on a busy machine a second
    limits = ("-max_total_time=30", "-max_len=8192", "-rss_limit_mb=3072", "-malloc_limit_mb=256", "-timeout=10")
    # What is freed is held back for the sanitizer; with all that it may hold, the process grows beyond any limit.
    sanitizer = {"ASAN_OPTIONS": "quarantine_size_mb=64"}
    run(folder / "fuzz_artefact", *limits, f"-artifact_prefix={found}/", corpus, **sanitizer)


def test_threads(build: Build, cases: list[Path]) -> None:
    folder = build(
        "chunk_test",
        "gradient_tiles_test",
        "low_bit_conv_test",
        "threads_test",
        "winograd_test",
        settings=("-DCMAKE_CXX_FLAGS=-fsanitize=thread -g1", *QUICK_TO_BUILD),
    )
    draw(folder, chunk=100, low_bit_conv=30, winograd=15)
    run(folder / "gradient_tiles_test", "10")
    names = ("op_conv2d_steps", "op_program_steps", "residual_steps", "streams_steps")
    chosen = [case / "artefact" for case in cases if case.name in names]
    run(folder / "threads_test", "8000", *chosen)


def test_valgrind(build: Build, artefacts: list[Path]) -> None:
    """Nothing is read before it is written. Its processor has no AVX-512: the best table is the one of AVX2."""
    strict = (tool("valgrind"), "--quiet", "--error-exitcode=9")
    folder = build(*KERNELS, "replay")
    for instructions in ("scalar", "avx2" if X86 else "neon"):
        draw(folder, *strict, instructions=instructions, kernels=8, chunk=8, low_bit_conv=1, winograd=1)
    # Threads that wait for more work are as they should be at the end: leaks are looked for where there are none.
    run(*strict, "--leak-check=full", folder / "replay", *artefacts[:40])


@pytest.mark.parametrize("kind", ["chain", "stages", "wide"])
def test_planning_takes_as_long_as_the_network_is_large(build: Build, kind: str) -> None:
    """Instructions, from the nodes to the first logits: of four times the nodes, about four times as many."""
    valgrind = tool("valgrind")
    program = build("planning_test") / "planning_test"

    def instructions(nodes: int) -> int:
        count = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
        return int(re.search(r"Collected : ([0-9]+)", run(valgrind, *count, program, kind, str(nodes)))[1])

    start, few, many = (instructions(nodes) for nodes in (10, 2_000, 8_000))
    assert (many - start) / (few - start) < 5


def test_neon(build: Build, artefacts: list[Path]) -> None:
    compiler, qemu = tool("aarch64-linux-gnu-g++"), tool("qemu-aarch64", "qemu-aarch64-static")
    settings = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    )
    folder = build(*KERNELS, "replay", settings=settings)
    run(qemu, folder / "replay", *artefacts[::10])
    assert "neon" in draw(folder, qemu, kernels=300, chunk=100, low_bit_conv=30, winograd=8)


OLD_MACHINE = """
from deployed_graphs import random_input, residual_network
from hdlif._native import instruction_sets
from hdlif.runtime import Session, reference
graph = residual_network()
x = random_input(graph, 3, 2)
assert instruction_sets() == ["scalar"] and (Session(graph, 2).run(x) == reference.run(graph, x)).all()
"""


@pytest.mark.skipif(not X86, reason="a processor before AVX2")
def test_the_installed_extension_runs_without_avx2() -> None:
    paths = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    emulator = tool("qemu-x86_64", "qemu-x86_64-static")
    # NumPy's BLAS takes this machine's kernels where the environment tells it to.
    settings = {"PYTHONPATH": paths, "OPENBLAS_CORETYPE": "Nehalem"}
    run(emulator, "-cpu", "Nehalem", sys.executable, "-c", OLD_MACHINE, **settings)
