"""From an equation to its program: the step is called once, with symbols for current, states and parameters.

A step is a plain function on tensors. What it does with a symbol is written down; what it does with parameters alone is
done at once, on their values, and is a row of the program: cos(angle), or 1 - leak. Operators, and functions of PyTorch
by their names, are known; anything else is refused, with the line of the equation.
"""

from __future__ import annotations

import operator
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hdlif.equations.program import OPERATIONS, Instruction, Program
from hdlif.errors import EquationError, brief, cut, first_line

LONGEST_ROW_NAME = 60
KNOWN = (
    "+, -, *, / by parameters, comparisons, &, |, ~, torch.relu, where, minimum, maximum, clamp, abs, floor, square, "
    "zeros_like, ones_like and hdlif.functional.heaviside"
)


def trace(
    step: Callable[..., Any], *, states: Sequence[str], rows: Mapping[str, Any]
) -> tuple[Program, dict[str, Any]]:
    """The program of `step(current, *states, *rows) -> (spike, *states)`, and the values of its rows by their names.

    Args:
        step: a plain function on tensors.
        states: their names.
        rows: values of the parameters by name: tensors or arrays that broadcast with each other.
    Raises:
        EquationError: the step uses what a program has not; the message begins with file and line.
    """
    tracer = _Tracer(step, tuple(states))
    signals = [Symbol(tracer, node) for node in range(1 + len(states))]
    parameters = [Symbol(tracer, None, value, name) for name, value in rows.items()]
    try:
        returned = step(*signals, *parameters)
    except EquationError:
        raise
    except Exception as error:
        raise tracer.error(f"{type(error).__name__}: {cut(first_line(error), 200)}", of=error) from error
    results = list(returned) if isinstance(returned, tuple | list) else [returned]
    if len(results) != 1 + len(states):
        what = ", ".join(("spike", *states))
        raise tracer.error(f"the step gives {len(results)} values; it must give {1 + len(states)}: {what}")
    nodes = [tracer.node(result) for result in results]
    try:
        return tracer.program(nodes)
    except EquationError as error:
        raise tracer.error(str(error)) from error


class _Tracer:
    """Nodes are numbered as they come: the current, the states, then rows and operations; equal ones are one."""

    def __init__(self, step: Callable[..., Any], states: tuple[str, ...]) -> None:
        self._step, self._states = step, states
        self._nodes: list[Instruction | tuple[str, Any]] = []
        self._numbers: dict[Any, int] = {}
        self._rows: dict[str, int] = {}

    def operation(self, name: str, *operands: object, surrogate: str | None = None, gives_bool: bool = False) -> Symbol:
        if len(operands) != OPERATIONS[name].arity:
            raise self.error(f"{name} takes {OPERATIONS[name].arity} values, and is given {len(operands)}")
        numbers = tuple(self.node(operand) for operand in operands)
        rewritten = self._as_choice(name, numbers)
        number = rewritten if rewritten is not None else self._add(Instruction(name, numbers, 0.0, surrogate))
        return Symbol(self, number, is_bool=gives_bool)

    def node(self, operand: object) -> int:
        """The node of a symbol or a number."""
        if isinstance(operand, Symbol):
            if operand._tracer is not self:
                raise self.error("a value is from another call of the step; a step remembers nothing but its states")
            return self._row(operand) if operand._node is None else operand._node
        if isinstance(operand, bool | int | float):
            return self._add(Instruction("constant", (), float(operand)))
        item = getattr(operand, "item", None)
        if callable(item) and getattr(operand, "numel", lambda: getattr(operand, "size", 0))() == 1:
            return self._add(Instruction("constant", (), float(item())))
        raise self.error(f"{type(operand).__name__} is no number and nothing the step was given")

    def error(self, message: str, *, of: Exception | None = None) -> EquationError:
        """With the place in the file of the equation: where it is being run, or where an exception left it."""
        code = self._step.__code__
        line = code.co_firstlineno
        if of is not None:
            places = traceback.extract_tb(of.__traceback__)
            line = next((p.lineno or line for p in reversed(places) if p.filename == code.co_filename), line)
        else:
            frame: FrameType | None = sys._getframe()
            while frame is not None and frame.f_code.co_filename != code.co_filename:
                frame = frame.f_back
            line = line if frame is None else frame.f_lineno
        return EquationError(f"{Path(code.co_filename).name}:{line}: {message}")

    def program(self, results: Sequence[int]) -> tuple[Program, dict[str, Any]]:
        """Rows first, then operations, as registers have it."""
        first = 1 + len(self._states)
        register = {number: number for number in range(first)}
        register |= {number: first + place for place, number in enumerate(self._rows.values())}
        instructions: list[Instruction] = []
        for number, node in enumerate(self._nodes, first):
            if isinstance(node, Instruction):
                register[number] = first + len(self._rows) + len(instructions)
                operands = tuple(register[operand] for operand in node.operands)
                instructions.append(Instruction(node.operation, operands, node.value, node.surrogate))
        spike, *after = (register[number] for number in results)
        program = Program(self._states, tuple(self._rows), tuple(instructions), spike, tuple(after)).trimmed()
        return program, {name: self._value(name) for name in program.rows}

    def _add(self, instruction: Instruction) -> int:
        if instruction not in self._numbers:
            self._nodes.append(instruction)
            self._numbers[instruction] = len(self._states) + len(self._nodes)
        return self._numbers[instruction]

    def _row(self, symbol: Symbol) -> int:
        name = symbol._name
        # Two rows may be written alike and differ, as 1 - leak of two lines that the step has changed in between.
        while name in self._rows and not _alike(self._value(name), symbol._value):
            name += "'"
        if name not in self._rows:
            self._nodes.append((name, symbol._value))
            self._rows[name] = len(self._states) + len(self._nodes)
        return self._rows[name]

    def _value(self, name: str) -> Any:
        node = self._nodes[self._rows[name] - len(self._states) - 1]
        assert isinstance(node, tuple)
        return node[1]

    def _as_choice(self, name: str, operands: tuple[int, ...]) -> int | None:
        """x ± b·y with b of 1 or 0 is b ? x ± y : x, the same number for all finite y, and one operation less."""
        if name not in ("add", "subtract"):
            return None
        product = self._instruction(operands[1])
        if product is None or product.operation != "multiply":
            return None
        for chosen, other in (product.operands, product.operands[::-1]):
            if self._is_binary(chosen):
                both = self._add(Instruction(name, (operands[0], other)))
                return self._add(Instruction("select", (chosen, both, operands[0])))
        return None

    def _instruction(self, number: int) -> Instruction | None:
        place = number - 1 - len(self._states)
        node = self._nodes[place] if place >= 0 else None
        return node if isinstance(node, Instruction) else None

    def _is_binary(self, number: int) -> bool:
        instruction = self._instruction(number)
        return instruction is not None and instruction.operation in ("greater", "greater_equal", "step")


class Symbol:
    """Stands for a tensor in a step: a signal, one for each neuron, or a parameter with its values."""

    def __init__(
        self, tracer: _Tracer, node: int | None, value: Any = None, name: str = "", *, is_bool: bool = False
    ) -> None:
        self._tracer, self._node, self._value, self._name, self._is_bool = tracer, node, value, name, is_bool

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What PyTorch calls where one of its functions, or ours, is given a symbol."""
        every = [*args, *(kwargs or {}).values()]
        symbol = next(one for one in _flat(every) if isinstance(one, Symbol))
        return symbol._call(getattr(function, "__name__", str(function)), function, args, dict(kwargs or {}))

    def _call(self, name: str, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        symbols = [one for one in _flat([*args, *kwargs.values()]) if isinstance(one, Symbol)]
        if kwargs.get("inplace") or kwargs.get("out") is not None:
            raise self._tracer.error(f"{name} writes over a value, which others may still read; leave out inplace, out")
        if name.endswith("_") and not name.startswith("__"):
            raise self._tracer.error(
                f"{name} changes a value in place, which others may still read; use {name.strip('_')}"
            )
        if all(symbol._node is None for symbol in symbols):
            return self._of_parameters(name, function, args, kwargs)
        handler = _HANDLERS.get(name.strip("_"))
        if handler is None:
            raise self._tracer.error(f"{name} is no operation of a neuron's program; it has {KNOWN}")
        try:
            return handler(self._tracer, *args, **kwargs)
        except TypeError as error:
            raise self._tracer.error(f"{name}: {error}") from error

    def _of_parameters(self, name: str, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Symbol:
        value = function(*map(_concrete, args), **{key: _concrete(one) for key, one in kwargs.items()})
        described = [one._name if isinstance(one, Symbol) else brief(one) for one in args]
        sign = _SIGNS.get(name.strip("_"))
        if not _is_of_each(function, args, kwargs, value):
            raise self._tracer.error(
                f"{name} of parameters makes one number of several; a step is given those of its own time step and "
                "channel, so that functions of them are of each number by itself"
            )
        text = f" {sign} ".join(described) if sign and len(args) == 2 else f"{name.strip('_')}({', '.join(described)})"
        return Symbol(self._tracer, None, value, cut(f"({text})" if sign else text, LONGEST_ROW_NAME))

    def __invert__(self) -> Any:
        return self._call("invert", lambda x: ~x, (self,), {})

    def __pos__(self) -> Any:
        return self

    def _written_over(self, *_: object) -> NoReturn:
        raise self._tracer.error(
            "+=, *= and their like write over a value, which others may still read; write x = x + y"
        )

    def __neg__(self) -> Any:
        return self._call("neg", lambda x: -x, (self,), {})

    def __abs__(self) -> Any:
        return self._call("abs", abs, (self,), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # Values that are the same for all neurons, such as a dtype, are not asked of a symbol.
        if self._node is None and not callable(getattr(self._value, name, None)):
            raise self._tracer.error(f".{name} depends on how a network is run; an equation may not")
        return lambda *args, **kwargs: self._call(
            name, lambda value, *rest, **named: getattr(value, name)(*rest, **named), (self, *args), kwargs
        )

    def _refuse(self, *_: object) -> NoReturn:
        raise self._tracer.error(
            "control flow on values, or a look at one of them, has no program; choose by torch.where(condition, a, b)"
        )

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __getitem__ = __index__ = _refuse
    # Comparing for equality is a look at values too; a symbol is found by what it is.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return self._refuse()

    def __ne__(self, other: object) -> Any:
        return self._refuse()


def _concrete(value: Any) -> Any:
    if isinstance(value, Symbol):
        return value._value
    return type(value)(map(_concrete, value)) if isinstance(value, tuple | list) else value


def _flat(values: Sequence[Any]) -> list[Any]:
    return [inner for value in values for inner in (value if isinstance(value, tuple | list) else [value])]


def _operator(name: str, function: Callable[..., Any], *, swapped: bool = False) -> Callable[[Symbol, object], Any]:
    """The method of a symbol for an operator, or for one whose other operand comes first."""

    def operate(symbol: Symbol, other: object) -> Any:
        if not isinstance(other, Symbol | bool | int | float) and not hasattr(other, "item"):
            return NotImplemented
        return symbol._call(name, function, (other, symbol) if swapped else (symbol, other), {})

    return operate


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and", "or"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Symbol, f"__{_name}__", _operator(_name, _function))
    setattr(Symbol, f"__r{_name}__", _operator(_name, _function, swapped=True))
    setattr(Symbol, f"__i{_name}__", Symbol._written_over)
for _name in ("gt", "ge", "lt", "le"):
    setattr(Symbol, f"__{_name}__", _operator(_name, getattr(operator, _name)))

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "truediv": "/", "pow": "**", "rsub": "-"}


def _alike(a: Any, b: Any) -> bool:
    """Whether two rows hold the same numbers; of values that are not there, whether they are one."""
    if a is b or getattr(a, "is_meta", False) or getattr(b, "is_meta", False):
        return a is b
    return bool(tuple(a.shape) == tuple(b.shape) and (a == b).all())


def _is_of_each(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], value: Any) -> bool:
    """Whether a function of rows [T, C] is one of each number: it gives the same for a corner alone."""
    rows = [one._value for one in _flat([*args, *kwargs.values()]) if isinstance(one, Symbol)]
    shape = tuple(max(sizes) for sizes in zip(*(row.shape for row in rows), strict=True))
    if tuple(getattr(value, "shape", ())) != shape:
        return False
    if getattr(value, "is_meta", False):
        return True

    def corner(one: Any, place: int) -> Any:
        if isinstance(one, Symbol):
            return one._value[:1, :1] if place == 0 else one._value[-1:, -1:]
        return type(one)(corner(inner, place) for inner in one) if isinstance(one, tuple | list) else one

    for place, expected in ((0, value[:1, :1]), (-1, value[-1:, -1:])):
        alone = function(*(corner(a, place) for a in args), **{key: corner(one, place) for key, one in kwargs.items()})
        a, b = float(alone), float(expected)
        if a != b and not (a != a and b != b) and not abs(a - b) <= 1e-4 * max(1.0, abs(b)):
            return False
    return True


def _simple(name: str) -> Callable[..., Symbol]:
    return lambda tracer, *operands: tracer.operation(name, *operands)


def _sum(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    """Of numbers: PyTorch adds truth values by another arithmetic, and does not subtract them."""

    def handle(tracer: _Tracer, a: Any, b: Any) -> Symbol:
        bools = [isinstance(one, bool) or (isinstance(one, Symbol) and one._is_bool) for one in (a, b)]
        if all(bools) or (name == "subtract" and any(bools)):
            raise tracer.error(f"{name} of truth values; make numbers of them by .float()")
        return tracer.operation(name, *((b, a) if swapped else (a, b)))

    return handle


def _negative(tracer: _Tracer, x: Any) -> Symbol:
    return _sum("subtract")(tracer, x, 0.0) if x._is_bool else tracer.operation("negative", x)


def _logical(name: str, *constants: float | None) -> Callable[..., Symbol]:
    """A select of truth values; None stands for the next operand."""

    def handle(tracer: _Tracer, *operands: Any) -> Symbol:
        if not all(isinstance(one, Symbol) and one._is_bool for one in operands):
            raise tracer.error(f"{name} takes truth values, such as x > 0")
        rest = iter(operands)
        chosen = [next(rest) if constant is None else constant for constant in constants]
        return tracer.operation("select", *chosen, gives_bool=True)

    return handle


def _compared(name: str, *, swapped: bool = False) -> Callable[..., Symbol]:
    return lambda tracer, a, b: tracer.operation(name, *((b, a) if swapped else (a, b)), gives_bool=True)


def _where(tracer: _Tracer, condition: Any, a: Any, b: Any) -> Symbol:
    if not (isinstance(condition, Symbol) and condition._is_bool):
        raise tracer.error("the condition of torch.where is a truth value, such as x > 0")
    return tracer.operation("select", condition, a, b)


def _of_two(name: str) -> Callable[..., Symbol]:
    """torch.maximum, or torch.max of two tensors; max over an axis is another thing."""

    def handle(tracer: _Tracer, *operands: Any) -> Symbol:
        if len(operands) != 2 or not all(isinstance(one, Symbol) for one in operands):
            raise tracer.error(f"{name} takes two tensors; with a number, use clamp")
        return tracer.operation(name, *operands)

    return handle


def _divide(tracer: _Tracer, a: Any, b: Any) -> Symbol:
    if isinstance(b, Symbol) and b._node is not None:
        raise tracer.error("division by a state or a current has no program; multiply by a parameter")
    inverse = 1 / b if not isinstance(b, Symbol) else Symbol(tracer, None, 1 / b._value, f"1 / {b._name}")
    return tracer.operation("multiply", a, inverse)


def _power(tracer: _Tracer, a: Any, exponent: Any) -> Symbol:
    if isinstance(exponent, Symbol) or exponent != 2:
        raise tracer.error("a power other than 2 has no program; multiply")
    return tracer.operation("multiply", a, a)


def _clamp(tracer: _Tracer, x: Any, min: Any = None, max: Any = None) -> Symbol:
    for name, bound in (("maximum", min), ("minimum", max)):
        x = x if bound is None else tracer.operation(name, x, bound)
    if not isinstance(x, Symbol):
        raise tracer.error("clamp takes a state or a current")
    return x


def _same(tracer: _Tracer, x: Symbol, *types: object, **named: object) -> Symbol:
    """Types of numbers, copies and cut gradients leave the value."""
    said = " ".join(str(one) for one in (*types, *named.values()))
    if any(word in said for word in ("int", "bool")):
        raise tracer.error("a step computes with floating-point numbers; .to an integer cuts them off (use floor)")
    return Symbol(tracer, x._node, x._value, x._name)


def _copied(tracer: _Tracer, x: Symbol, *_: object, **__: object) -> Symbol:
    return x


def _step(tracer: _Tracer, x: Any, surrogate: Any = None) -> Symbol:
    if surrogate is None or hasattr(surrogate, "item"):
        raise tracer.error("torch.heaviside has no derivative; use hdlif.functional.heaviside(x, surrogate)")
    return tracer.operation("step", x, surrogate=str(surrogate))


_HANDLERS: dict[str, Callable[..., Symbol]] = {
    **dict.fromkeys(("add", "radd"), _sum("add")),
    **dict.fromkeys(("sub", "subtract"), _sum("subtract")),
    "rsub": _sum("subtract", swapped=True),
    **dict.fromkeys(("mul", "multiply", "rmul"), _simple("multiply")),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), _divide),
    **dict.fromkeys(("rtruediv", "rdiv"), lambda tracer, a, b: _divide(tracer, b, a)),
    "pow": _power,
    "square": lambda tracer, x: tracer.operation("multiply", x, x),
    **dict.fromkeys(("neg", "negative"), _negative),
    **dict.fromkeys(("abs", "absolute"), _simple("absolute")),
    "floor": _simple("floor"),
    "relu": lambda tracer, x, inplace=False: tracer.operation("maximum", x, 0.0),
    **dict.fromkeys(("minimum", "min", "fmin"), _of_two("minimum")),
    **dict.fromkeys(("maximum", "max", "fmax"), _of_two("maximum")),
    "clamp_max": _simple("minimum"),
    "clamp_min": _simple("maximum"),
    **dict.fromkeys(("clamp", "clip"), _clamp),
    **dict.fromkeys(("gt", "greater"), _compared("greater")),
    **dict.fromkeys(("ge", "greater_equal"), _compared("greater_equal")),
    **dict.fromkeys(("lt", "less"), _compared("greater", swapped=True)),
    **dict.fromkeys(("le", "less_equal"), _compared("greater_equal", swapped=True)),
    **dict.fromkeys(("and", "logical_and", "bitwise_and"), _logical("and", None, None, 0.0)),
    **dict.fromkeys(("or", "logical_or", "bitwise_or"), _logical("or", None, 1.0, None)),
    **dict.fromkeys(("invert", "logical_not", "bitwise_not"), _logical("not", None, 0.0, 1.0)),
    "where": _where,
    "zeros_like": lambda tracer, x, **_: Symbol(tracer, tracer.node(0.0)),
    "ones_like": lambda tracer, x, **_: Symbol(tracer, tracer.node(1.0)),
    "heaviside": _step,
    **dict.fromkeys(("to", "float", "double", "type_as"), _same),
    **dict.fromkeys(("detach", "clone", "contiguous"), _copied),
}
"""What a step may do with a state or a current, by the names of PyTorch's functions and methods."""
