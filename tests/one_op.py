"""A small graph for each op, for the tests that ask something of all of them."""

import numpy as np

from deployed_graphs import Builder
from hdlif.graph.artefact import INPUT, Graph
from random_programs import random_program


def of_one_op(op: str, *, constant: bool = False) -> Graph:
    """The op on reals and, where it takes them, on codes of one bit and of four.

    Args:
        constant: whether all is the same at every step.
    """
    b = Builder((3, 5, 4), 3, 0)
    for x in (INPUT, b.quantise(INPUT, bits=1), b.quantise(INPUT, inverse_step=1.5)):
        match op:
            case "conv2d":
                for encoding in ("float32", "ternary", "binary", "int2", "int4", "int8"):
                    b.conv(x, 2, stride=(2, 1), encoding=encoding)
                    b.conv(x, 6, stride=(1, 2), padding=(3, 0), dilation=(2, 1), groups=3, encoding=encoding)
            case "linear":
                for encoding in ("float32", "ternary", "binary", "int2", "int4", "int8"):
                    b.linear(b.add("flatten", x), 2, encoding=encoding)
            case "sum_pool" | "max_pool":
                for kernel, stride in (((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 3), (3, 1))):
                    padding = {"padding": tuple(size - 1 for size in kernel)} if op == "max_pool" else {}
                    b.add(op, x, kernel=kernel, stride=stride, **padding)
            case "global_sum_pool" | "flatten":
                b.add(op, x)
            case "add":
                b.add(op, x, INPUT)
            case "delay":
                for neuron in ("quantised", "lif", "hd_lif"):
                    b.recurrent(x, neuron)
                b.recurrent(b.add("flatten", x))
            case "concat":
                b.concat(x, INPUT)
            case "upsample":
                b.add(op, x, factor=(2, 3))
            case "slice":
                b.slice(x, 1, 3)
            case "affine":
                b.affine(x, per_step=not constant)
                b.passing(x, identity=(False,) if constant else (True, False, True))
                name = b.affine(x)
                b.nodes[-1].tensors["scale"][0, 1], b.nodes[-1].tensors["shift"][0, 2] = 1, 0
                assert name == b.nodes[-1].name
            case "quantise":
                for inverse_step, offset in ((4.0, 0.5), (3.7, 0.5), (1.0, 0.5), (4.0, 0.0), (1.0, 0.0), (0.5, 1.0)):
                    b.quantise(x, inverse_step=inverse_step, offset=offset)
                    b.quantise(b.parallel(x), inverse_step=inverse_step, offset=offset, per_step=not constant)
            case "program":
                for seed in range(6):
                    drawn = random_program(np.random.default_rng(seed), states=0 if constant else None)
                    b.program(x, program=drawn, per_step=not constant, per_channel=True)
            case "gate":
                wide, pooled = b.quantise(b.conv(x, 6)), b.add("global_sum_pool", x)
                whole = b.add("sum_pool", x, kernel=(5, 4), stride=(1, 1))
                for a in (x, b.slice(x, 1, 2), pooled, b.slice(pooled, 1, 2), whole):
                    b.add(op, x, a)
                    b.add(op, wide, a)
                b.add(op, b.add("flatten", wide), pooled)
            case "seca":
                b.seca(x, kernel=1, per_step=not constant)
                b.seca(x, kernel=5)
            case _:
                raise AssertionError(f"{op} has no small graph here yet: give it one, so that it is tested as all are")
    return b.graph(b.nodes[-1].name)
