"""Firmware for other processors, run in emulators: the oracle's outputs, and the room that it takes."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from c_networks import fresh, in_one_call, joined, of_an_answer
from cases import every
from deployed_graphs import coded_network, random_input, residual_network
from hdlif.deploy import lower
from hdlif.deploy.c import FixedPoint, Source, fixed_point, translate
from hdlif.deploy.c.building import FLAGS, firmware
from hdlif.deploy.c.checking import learned_from
from hdlif.deploy.c.devices import DEVICES, installed, run_on_devices
from hdlif.errors import InputError, MachineError
from hdlif.graph.artefact import Graph
from hdlif.graph.learning import Level
from hdlif.recipe import builders, load_recipe
from hdlif.runtime import reference
from runtime.test_random_graphs import graphs

pytestmark = pytest.mark.slow
KINDS = ("float", "fixed")


BOARDS = ("cortex-m0plus-mps2", "cortex-m4", "cortex-m55", "riscv64")


def needs(*devices: str) -> pytest.MarkDecorator:
    missing = sorted(set(devices) - set(installed()))
    return pytest.mark.skipif(bool(missing), reason=f"no tools for {', '.join(missing)}")


def project(
    graph: Graph, kind: str, x: np.ndarray, *, learn: Level | None = None, momentum: float = 0.0
) -> tuple[dict[str, str], Source]:
    """Firmware that is shown the frames [T or 1, N, C, H, W]."""
    fixed: FixedPoint | None = fixed_point(graph, x, graph.time_steps) if kind == "fixed" else None
    source = translate(graph, fixed=fixed, learn=learn, momentum=momentum)
    frames = x if fixed is None else fixed.frame(x)
    expected = reference.run(graph, x, graph.time_steps) if fixed is None else fixed.run(frames, graph.time_steps)
    *_, learned = [None] if learn is None else learned_from(source, x)
    return dict(firmware(source, frames.swapaxes(0, 1), expected.swapaxes(0, 1), learned)), source


@pytest.fixture(scope="module")
def digits() -> tuple[Graph, np.ndarray]:
    """The network of the demo's smallest artefact, with the weights that its training begins with, and images."""
    recipe = load_recipe("digits_hdlif_w1p5_s4_parallel")
    torch.manual_seed(0)
    network = builders.build_model(recipe).eval()
    kind = builders.data_kind(recipe)
    graph = lower(network, input=builders.input_record(recipe), labels=kind.labels, time_steps=recipe.time_steps)
    sets = builders.build_data(recipe, None)
    (x, _), *_ = sets.test.sequences(4, torch.arange(4))
    return graph, x.numpy()


@pytest.mark.parametrize("device", [device for device in DEVICES if device != "cortex-m0plus"])
@every(kind=KINDS)
def test_the_digits_run_on_a_device(kind: str, device: str, digits: tuple[Graph, np.ndarray]) -> None:
    if device not in installed():
        pytest.skip(f"no tools for {device}")
    files, source = project(digits[0], kind, digits[1])
    (ran,) = run_on_devices(files, source.data_bytes, (device,))
    (whole,) = run_on_devices(files, source.data_bytes, (device,), by_answer=True)
    assert whole.ticks < ran.ticks or not device.startswith("cortex")
    assert ran.fits
    assert 0 < ran.code_bytes < 16_384
    assert 0 < ran.frame_bytes < 512
    if device.startswith("cortex"):
        assert ran.frame_bytes <= ran.stack_bytes < 1024
        # The samples and what surrounds the network are part of the image, and functions that nobody calls are not.
        assert source.data_bytes < ran.image_bytes < source.data_bytes + ran.code_bytes + 16_384
        assert ran.ticks > 0
    else:
        assert (ran.stack_bytes, ran.image_bytes) == (0, 0)


@needs("cortex-m0plus", "cortex-m4")
@every("kind", "fits", "kib", of=[("fixed", True, 16), ("float", False, 24)])
def test_the_digits_fit_64_kib_of_rom_and_16_of_ram_in_fixed_point_alone(
    kind: str, fits: bool, kib: int, digits: tuple[Graph, np.ndarray]
) -> None:
    files, source = project(digits[0], kind, digits[1])
    small, large = run_on_devices(files, source.data_bytes, ("cortex-m0plus", "cortex-m4"))
    assert small.fits == fits
    assert not fits or source.data_bytes + small.code_bytes < 64 * 1024
    assert source.ram_bytes + (small if fits else large).stack_bytes < kib * 1024


@needs(*BOARDS)
def test_devices_learn_as_the_oracle_does() -> None:
    """The firmware compares what it has learned with the oracle's bytes: here they are those, and then others."""
    graph = residual_network()
    files, source = project(graph, "float", random_input(graph, graph.time_steps, 2), learn="all", momentum=0.5)
    for ran in run_on_devices(files, source.data_bytes, BOARDS):
        assert ran.fits
        assert (ran.learn_ticks > 0 and ran.update_ticks > 0) == ran.device.startswith("cortex")
    first = re.search(r"LEARNED_AT_LAST\[\d+\] = \{\s*", files["samples.h"])
    assert first is not None
    files["samples.h"] = f"{files['samples.h'][: first.end()]}1{files['samples.h'][first.end() :]}"
    with pytest.raises(MachineError, match="1 outputs differ from the reference"):
        list(run_on_devices(files, source.data_bytes, ("cortex-m4",)))


@needs("cortex-m0plus", "cortex-m4")
def test_the_smallest_device_learns_in_fixed_point_as_the_oracle_does() -> None:
    graph = coded_network()
    files, source = project(graph, "fixed", random_input(graph, graph.time_steps, 2), learn="classifier")
    for ran in run_on_devices(files, source.data_bytes, ("cortex-m0plus", "cortex-m4")):
        assert ran.fits
        assert ran.update_ticks > 0
    # erased memory is empty
    begin = "int main(void)\n{\n"
    files["main.c"] = files["main.c"].replace(begin, f"{begin}    memset(slots, 0xff, sizeof slots);\n")
    list(run_on_devices(files, source.data_bytes, ("host",)))


@needs("cortex-m0plus")
@every(learn=[None, "classifier"])
def test_fixed_point_calls_nothing_of_floats(learn: Level | None, tmp_path: Path) -> None:
    graph = coded_network()
    files, _ = project(graph, "fixed", random_input(graph, graph.time_steps, 2), learn=learn)
    write(files, tmp_path)
    compiled = tmp_path / "network.o"
    command = ["arm-none-eabi-gcc", *FLAGS, "-mcpu=cortex-m0plus", "-mthumb", "-c", "network.c", "-o", compiled.name]
    subprocess.run(command, cwd=tmp_path, check=True)
    names = subprocess.run(
        ["arm-none-eabi-nm", "--undefined-only", str(compiled)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in names if name.startswith(("__aeabi_f", "__aeabi_d", "__aeabi_i2f", "__aeabi_ui2f"))]


@settings(max_examples=12, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=graphs(), kind=st.sampled_from(KINDS))
@needs(*BOARDS)
def test_any_graph_has_the_oracles_outputs_on_all_devices(graph: Graph, kind: str) -> None:
    graph = joined(graph)
    try:
        files, source = project(graph, kind, of_an_answer(graph, random_input(graph, graph.time_steps, 2)))
    except InputError as error:
        assume("its sums may reach" not in str(error))
        raise
    for by_answer in (False, True)[: 1 + bool(source.answer_bytes)]:
        assert all(ran.fits for ran in run_on_devices(files, source.data_bytes, BOARDS, by_answer=by_answer))


@every(steps=[3, 4, 6], inputs=[70, 250], kind=KINDS)
@needs("cortex-m4", "cortex-m55")
def test_vectors_have_the_oracles_outputs(kind: str, inputs: int, steps: int) -> None:
    """With 16-bit sums, and of 250 inputs with sums that may pass them."""
    graph = in_one_call(steps, inputs=inputs)
    files, source = project(graph, kind, of_an_answer(graph, random_input(graph, steps, 2)))
    assert ("__ARM_FEATURE_MVE) && 1\n" in source.code) == (inputs == 70)
    assert all(
        ran.fits for ran in run_on_devices(files, source.data_bytes, ("cortex-m4", "cortex-m55"), by_answer=True)
    )


CLANG = {
    "Cortex-M4": ("--target=thumbv7em-none-eabihf", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"),
    "Cortex-M0+": ("--target=thumbv6m-none-eabi", "-mcpu=cortex-m0plus"),
    "Cortex-M55": ("--target=thumbv8.1m.main-none-eabihf", "-mcpu=cortex-m55"),
    "RISC-V": ("--target=riscv32-none-elf", "-march=rv32imc"),
}


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@every(target=sorted(CLANG), kind=KINDS)
def test_clang_builds_it_for_bare_processors(kind: str, target: str, tmp_path: Path) -> None:
    """With headers of its own, and declarations of the two functions that no freestanding compiler brings."""
    graph = residual_network()
    files, _ = project(graph, kind, random_input(graph, graph.time_steps, 1))
    folder = fresh(tmp_path)
    write(files, folder)
    (folder / "string.h").write_text(
        "#include <stddef.h>\nvoid *memset(void *, int, size_t);\nvoid *memcpy(void *, const void *, size_t);\n"
    )
    command = ["clang", *FLAGS, *CLANG[target], "-ffreestanding", "-I.", "-c", "network.c", "-o", "network.o"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_outputs_and_firmware_that_does_not_compile_are_errors() -> None:
    graph = residual_network()
    x = random_input(graph, graph.time_steps, 1)
    files, source = project(graph, "float", x)
    wrong = dict(firmware(source, x.swapaxes(0, 1), (reference.run(graph, x) + 1).swapaxes(0, 1)))
    for changed, said in ((wrong, r"host: \d+ outputs differ from"), ({**files, "main.c": "oops"}, "host: .*oops")):
        with pytest.raises(MachineError, match=said):
            list(run_on_devices(changed, source.data_bytes, ("host",)))


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
