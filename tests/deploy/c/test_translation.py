"""A network as C99: the reference's bits, or those of its fixed point; true sizes, and names from anywhere."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from c_networks import assert_has_the_bits_of_fixed_point, assert_has_the_references_bits, fresh, in_one_call, joined
from cases import every, sampled
from deployed_graphs import Builder, every_op, random_input, residual_network, tiny_network, two_streams, u_net
from hdlif.deploy.c import fixed_point, translate
from hdlif.deploy.c.building import FLAGS, Library, compiler
from hdlif.deploy.c.ops import EMITTERS
from hdlif.deploy.c.source import Source, label_bytes
from hdlif.deploy.c.text import distinct
from hdlif.errors import InputError, MachineError
from hdlif.graph.artefact import INPUT, Graph, InputRecord
from hdlif.graph.equations import Instruction, Program
from hdlif.graph.ops import OPS
from hdlif.runtime import normalise, reference
from one_op import of_one_op
from resource_limits import within_seconds
from runtime.test_random_graphs import graphs

QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
Check = Callable[..., object]
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def test_every_op_has_a_form_in_c() -> None:
    assert EMITTERS.keys() == OPS.keys()
    for name, op in OPS.items():
        emitter = EMITTERS[name]
        assert (emitter.entry is not None) == op.is_elementwise, name
        assert (emitter.entry is None and emitter.loops is None) == op.is_view, name


KINDS = {"float": assert_has_the_references_bits, "fixed": assert_has_the_bits_of_fixed_point}


@sampled(len(OPS), op=sorted(OPS), check=KINDS)
def test_every_op_has_the_oracles_bits(op: str, check: Check, tmp_path: Path) -> None:
    check(of_one_op(op), fresh(tmp_path), flags=QUICK)


@sampled(5, encoding=["ternary", "binary", "int4", "int8", "float32"], check=KINDS)
def test_a_residual_network_has_the_oracles_bits(encoding: str, check: Check, tmp_path: Path) -> None:
    check(residual_network(encoding=encoding, width=9), fresh(tmp_path))


@every(graph={"slices and joined channels": two_streams(), "maps": u_net()}, check=KINDS)
def test_networks_of_other_shapes_have_the_oracles_bits(graph: Graph, check: Check, tmp_path: Path) -> None:
    check(graph, fresh(tmp_path), flags=QUICK)


def test_the_header_of_maps_has_their_size() -> None:
    source = translate(u_net(), "cells")
    sizes = {"OUTPUTS": 3 * 8 * 6, "LABELS": 3, "OUTPUT_HEIGHT": 8, "OUTPUT_WIDTH": 6}
    for name, size in sizes.items():
        assert f"#define CELLS_{name} {size}\n" in source.header
    assert "maps [labels][height][width]; the class of a pixel is the index of the largest entry in" in source.header
    assert "OUTPUT_HEIGHT" not in translate(residual_network()).header


RANDOM = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=4, **RANDOM)
@given(graph=graphs(), check=st.sampled_from(list(KINDS.values())))
def test_any_graph_has_the_oracles_bits(graph: Graph, check: Check, tmp_path: Path) -> None:
    try:
        check(graph, fresh(tmp_path), flags=QUICK)
    except InputError as error:
        assume("its sums may reach" not in str(error))
        raise


@pytest.mark.slow
@settings(max_examples=200, **RANDOM)
@given(graph=graphs(), check=st.sampled_from(list(KINDS.values())))
def test_many_graphs_have_the_oracles_bits(graph: Graph, check: Check, tmp_path: Path) -> None:
    test_any_graph_has_the_oracles_bits.hypothesis.inner_test(graph, check, tmp_path)


def fused_multiply_adds() -> bool:
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and " fma " in cpu.read_text()


@pytest.mark.skipif(not fused_multiply_adds(), reason="this processor has no fused multiply-add")
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_no_compiler_joins_a_product_with_a_sum(name: str, tmp_path: Path) -> None:
    """In GNU's C a product and a sum are one instruction where the processor has it, and one rounding is left out."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    flags = ("-std=gnu99", "-O3", "-mfma", "-mavx2", *FLAGS[2:])
    assert_has_the_references_bits(residual_network(encoding="float32"), tmp_path, flags=flags, with_compiler=path)


def test_sums_of_codes_that_pass_16_bits_are_added_up_in_parts(tmp_path: Path) -> None:
    """Windows of 700 codes of up to 255, and weights of 7."""
    b = Builder((70, 5, 4), 2, 3)
    codes = b.quantise(INPUT, bits=8, inverse_step=200.0)
    for encoding in ("ternary", "binary", "int4", "int8"):
        b.conv(codes, 9, kernel=(3, 3), encoding=encoding)
        b.nodes[-1] = replace(b.nodes[-1], tensors={"weight": np.abs(b.nodes[-1].tensors["weight"])})
    assert_has_the_references_bits(b.graph(b.nodes[-1].name), tmp_path, flags=QUICK)


@sampled(2, steps=[2, 3, 4, 5], kind=["image", "events"], check=KINDS)
def test_all_steps_in_one_call_have_the_oracles_bits(steps: int, kind: str, check: Check, tmp_path: Path) -> None:
    """Of windows of 630 codes of up to 15, which are added up in parts, and of a frame that is or is not the same."""
    graph = in_one_call(steps, kind=kind)
    assert translate(graph).answer_bytes > 0
    check(graph, fresh(tmp_path), flags=QUICK)


def test_layers_of_other_weights_have_steps_alone() -> None:
    for encoding, has in (("ternary", True), ("binary", False), ("int4", False), ("int8", False)):
        source = translate(residual_network(encoding=encoding))
        assert (source.answer_bytes > 0, "network_answer" in source.header) == (has, has)


def test_sequences_take_turns_with_one_work_space(tmp_path: Path) -> None:
    graph = joined(residual_network())
    source = translate(graph)
    first = Library(source, tmp_path)
    x = random_input(graph, 4, 2)
    expected = reference.run(graph, x)
    states = [first.new_state() for _ in range(2)]
    for t in range(4):
        for k, state in enumerate(states):
            found = first.step(state, x[t, k], expected.shape[2])
            np.testing.assert_array_equal(found, expected[t, k])


def test_a_frame_of_raw_values_is_that_of_the_runtime(tmp_path: Path) -> None:
    graph, rng = residual_network(), np.random.default_rng(0)
    record = InputRecord(graph.input.shape, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    pixels = rng.integers(0, 256, record.shape).astype(np.uint8)
    for kind, values in (("image", pixels), ("events", rng.normal(size=record.shape).astype(np.float32))):
        own = replace(record, kind=kind, resize="none")
        library = Library(translate(replace(graph, input=own), kind), tmp_path, flags=QUICK)
        np.testing.assert_array_equal(library.frame(values), normalise(values, own))


def symbols(path: Path, option: str) -> list[list[str]]:
    """What nm prints of an object file, by line and word."""
    done = subprocess.run(["nm", option, str(path)], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def write(source: Source, folder: Path) -> None:
    for ending, text in ((".c", source.code), (".h", source.header)):
        (folder / f"{source.name}{ending}").write_text(text)


def compiled(source: Source, folder: Path, *arguments: str) -> Path:
    write(source, folder)
    subprocess.run([compiler(), *FLAGS, "-O0", *arguments], cwd=folder, check=True)
    return folder / arguments[arguments.index("-o") + 1]


SIZES = """
#include <stdio.h>
#include "network.h"
int main(void) { %s return 0; }
"""


@every(kind=["float", "fixed", "learning"])
def test_stated_bytes_are_those_of_all_constants_and_structs(kind: str, tmp_path: Path) -> None:
    graph, folder = joined(every_op()), fresh(tmp_path)
    fixed = fixed_point(graph, random_input(graph, 3, 2), 3) if kind == "fixed" else None
    source = translate(graph, fixed=fixed)
    sizes_of = {"state": source.state_bytes, "work": source.work_bytes}
    if kind == "learning":
        source = translate(residual_network(), learn="all", momentum=0.5)
        learning = source.learning
        sizes_of = {"state": source.state_bytes, "work": source.work_bytes, "learned": learning.learned.size}
        sizes_of |= {"gradients": learning.gradients.size, "learn_work": learning.work.size}
    # without optimisation, so that floats of expressions are no constants by name
    made = compiled(source, folder, "-c", "-o", "network.o", "network.c")
    sizes = [int(words[1], 16) for words in symbols(made, "--print-size") if words[-2] in "rR"]
    assert sum(sizes) == source.data_bytes
    (folder / "sizes.c").write_text(SIZES % "".join(f'printf("%zu ", sizeof(network_{name}));' for name in sizes_of))
    program = compiled(source, folder, "-o", "sizes", "sizes.c")
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(size) for size in sizes_of.values()]


def test_nothing_is_called_but_copies_and_filling_with_zeros(tmp_path: Path) -> None:
    made = compiled(translate(residual_network()), tmp_path, "-c", "-o", "network.o", "network.c")
    assert {words[-1] for words in symbols(made, "--undefined-only")} <= {"memset", "memcpy"}


OF_THE_LOOPS = ("bottom", "right", "corner", "v", "gate_of_c", "end", "frame", "total", "work", "state->t", "memset")
OF_C = ('*/ #include "x"', "a\\\nb", "int", "9", "??/", "ä.ö", "%s", "a b", "conv_codes", "*\\ #error x")


def test_nodes_may_have_any_names(tmp_path: Path) -> None:
    """Of local variables of the loops that read them, of C, and such as are no names there."""
    b = Builder((2, 6, 6), 2, 0)
    for name in (*OF_THE_LOOPS, *OF_C):
        b.affine(INPUT)
        b.nodes[-1] = replace(b.nodes[-1], name=name)
        pooled = b.add("max_pool", name, kernel=(2, 2), stride=(2, 2), padding=(1, 1))
        b.add("sum_pool", pooled, kernel=(2, 2), stride=(1, 1))
        b.hd_lif(b.conv(name, 2, kernel=(2, 2), padding=(0, 0)))
    # A state that is called as an argument of the function is.
    steps = (Instruction("constant", (), -0.5), Instruction("absolute", (2,)), Instruction("add", (1, 3)))
    program = Program(("frame",), (), (*steps, Instruction("floor", (0,)), Instruction("add", (4, 5))), 6, (4,))
    b.program(INPUT, program=program)
    assert_has_the_references_bits(b.graph(b.nodes[-1].name), tmp_path, flags=QUICK)


MANY_STEPS = """
#include <string.h>
#include "network.h"

static network_state state;
static network_work work;
static const NUMBER frame[] = {FRAME};

int main(void)
{
    NUMBER outputs[NETWORK_OUTPUTS];
    memset(&work, 0x80, sizeof work);
    network_start(&state);
    for (int t = 0; t < 5; t++)
        network_step(&state, &work, frame, outputs);
    return 0;
}
"""


@every(kind=["float", "fixed"])
def test_nothing_undefined_is_computed(kind: str, tmp_path: Path) -> None:
    """By UndefinedBehaviorSanitizer, with a workspace that holds anything, over many steps."""
    b = Builder((3, 5, 4), 2, 0)
    codes = b.quantise(INPUT, bits=8, inverse_step=100.0)
    for encoding in ("binary", "ternary", "int4", "int8", "float32"):
        b.conv(codes, 9, encoding=encoding)
    graph = joined(b.graph(b.seca(INPUT)))
    x = random_input(graph, 3, 1)
    fixed = fixed_point(graph, x, 3) if kind == "fixed" else None
    frames = x * 9 if fixed is None else np.full(x.shape, -(2**15)).astype(np.int16)
    source = translate(graph, fixed=fixed)
    folder = fresh(tmp_path)
    write(source, folder)
    number = "float" if fixed is None else "int16_t"
    numbers = ", ".join(repr(float(v)) + "f" if fixed is None else str(int(v)) for v in frames[0, 0].reshape(-1))
    (folder / "main.c").write_text(MANY_STEPS.replace("FRAME", numbers).replace("NUMBER", number))
    flags = ["-std=c99", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = [compiler(), *flags, "-o", "main", "main.c", "network.c", "-lm"]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("this compiler has no UndefinedBehaviorSanitizer")
    done = subprocess.run([folder / "main"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_outputs_do_not_depend_on_is_left_out() -> None:
    b = Builder((2, 4, 4), 2, 0)
    b.conv(INPUT, 30)
    whole = translate(b.graph(b.add("global_sum_pool", INPUT)))
    assert "conv2d" not in whole.code


def test_labels_are_the_bytes_of_their_names(tmp_path: Path) -> None:
    labels = ('"', "\\n", "a\nb", "zwölf", "??/", "%d", "")
    library = Library(translate(replace(tiny_network(), labels=labels)), tmp_path, flags=QUICK)
    assert library.labels(7, label_bytes(replace(tiny_network(), labels=labels))) == labels


def test_names_that_give_one_identifier_take_a_time_that_grows_as_they_do() -> None:
    assert list(distinct(["a", "a_2", "A", "a.", "t"], {"t"}).values()) == ["a", "a_2", "a_3", "a_4", "t_2"]
    names = [f"a.{'.' * place}" for place in range(20)] + [chr(0x3400 + place) * 2 for place in range(20_000)]
    with within_seconds(5):
        assert len(set(distinct(names).values())) == len(names)


@every(name=["", "9", "a-b", "int", "a b", "../x", "ä", "Upper", "stdint", "string", "math", "stdlib", "time"])
def test_a_file_name_that_is_no_identifier_or_a_header_of_c_is_refused_and_another_proposed(name: str) -> None:
    with pytest.raises(InputError) as caught:
        translate(tiny_network(), name)
    translate(tiny_network(), str(caught.value).rpartition(" ")[2].removesuffix(".c"))


def test_a_compiler_that_refuses_the_source_is_quoted(tmp_path: Path) -> None:
    source = replace(translate(tiny_network()), code="int x = y;")
    with pytest.raises(MachineError, match="undeclared"):
        Library(source, tmp_path)
