"""The operations of a network: what shape each one gives, how many weights it has, and how PyTorch writes it.

A shape is that of one example, without the batch: ``(features,)``, ``(steps, features)`` or ``(channels, height,
width)``. Uses the standard library only: the driver checks and counts networks without PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .notation import Call, Value, read

Shape = tuple[int, ...]

ACTIVATIONS = {
    "linear": "",
    "relu": "F.relu({})",
    "tanh": "torch.tanh({})",
    "sigmoid": "torch.sigmoid({})",
    "silu": "F.silu({})",
    "swish": "F.silu({})",
    "gelu": "F.gelu({})",
    "elu": "F.elu({})",
    "selu": "F.selu({})",
    "leaky_relu": "F.leaky_relu({})",
    "softplus": "F.softplus({})",
    "hard_swish": "F.hardswish({})",
}
"""Activations, and the PyTorch expression of each."""

LARGEST = 10**9
"""Largest size of anything: of an input, of a layer."""

NORMS = ("none", "batch", "layer")
"""Normalizations that may stand between a layer and its activation."""


class ShapeError(ValueError):
    """An operation cannot take an input of this shape. The message completes a sentence that begins with it."""


@dataclass(frozen=True)
class Code:
    """An operation as PyTorch writes it.

    Attributes:
        module: The expression that makes its module; empty where it has none.
        expression: Its value before the activation, with ``{x}`` for its input and ``{m}`` for its modules' name.
        activation: Its activation.
        imports: Lines that the program needs first.
        helpers: Names of the classes in :mod:`.helpers` that it uses.
    """

    module: str
    expression: str
    activation: str = "linear"
    imports: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Argument:
    """An argument of an operation.

    Attributes:
        name: As errors name it.
        kind: ``count`` (a whole number from 1), ``odd``, ``share`` (from 0 to below 1), or ``activation``.
        default: Its value where it is left out; None where it must be given.
    """

    name: str
    kind: str
    default: Value | None = None

    def checked(self, value: Value) -> Value:
        """The value. Raises ValueError where it cannot have it."""
        if self.kind == "activation":
            if value not in ACTIVATIONS:
                raise ValueError(f"{self.name} is one of {', '.join(ACTIVATIONS)}, but is {value}")
        elif self.kind == "share":
            if isinstance(value, str) or not 0 <= value < 1:
                raise ValueError(f"{self.name} is a number from 0 to below 1, but is {value}")
        elif isinstance(value, str | float) or not 1 <= value <= LARGEST:
            raise ValueError(f"{self.name} is a whole number from 1 to {LARGEST:,}, but is {value}")
        elif self.kind == "odd" and value % 2 == 0:
            raise ValueError(f"{self.name} is an odd number, so that the size stays, but is {value}")
        return value


UNITS, ACTIVATION = Argument("units", "count"), Argument("the activation", "activation", "linear")
FILTERS, KERNEL = Argument("filters", "count"), Argument("the kernel", "odd", 3)


@dataclass(frozen=True)
class Kind:
    """A kind of operation.

    Attributes:
        arguments: Its arguments.
        ranks: The numbers of dimensions that its input may have.
        out: The shape of its output, from its arguments and the input's shape.
        weights: The number of its weights, likewise.
        code: How PyTorch writes it, likewise.
        words: What it does, for the documentation.
        normed: Whether a normalization may stand before its activation.
        rest: The last argument may be given any number of times.
    """

    arguments: tuple[Argument, ...]
    ranks: tuple[int, ...]
    out: Callable[[Sequence[Value], Shape], Shape]
    weights: Callable[[Sequence[int], Shape], int]
    code: Callable[[Sequence[Value], Shape], Code]
    words: str
    normed: bool = False
    rest: bool = False


@dataclass(frozen=True)
class Operation:
    """An operation with its arguments, ready to be applied to a shape.

    Attributes:
        call: As it is written.
        values: All arguments, defaults included.

    >>> dense = operation("dense(16, relu)")
    >>> dense.out((54,)), dense.weights((54,))
    ((16,), 880)
    """

    call: Call
    values: tuple[Value, ...]

    @property
    def is_identity(self) -> bool:
        """It gives its input as it is."""
        return self.call.name == "identity"

    @property
    def is_users(self) -> bool:
        """It is a callable of the user's, whose output and weights only PyTorch knows."""
        return ":" in self.call.name

    @property
    def key(self) -> tuple[str, tuple[Value, ...]]:
        """Equal for operations that do the same."""
        return self.call.name, tuple("silu" if value == "swish" else value for value in self.values)

    @property
    def normed(self) -> bool:
        """Whether a normalization may stand before its activation."""
        return not self.is_users and KINDS[self.call.name].normed

    def out(self, shape: Shape) -> Shape | None:
        """The shape of its output; None where only PyTorch knows. Raises ShapeError."""
        if self.is_users:
            return None
        kind = KINDS[self.call.name]
        if len(shape) not in kind.ranks:
            needs = " or ".join(_RANKS[rank] for rank in kind.ranks)
            raise ShapeError(f"needs an input of {needs}, but gets {shown(shape)}")
        out = kind.out(self.values, shape)
        if not all(size > 0 for size in out):
            raise ShapeError(f"leaves nothing of an input of {shown(shape)}")
        return out

    def weights(self, shape: Shape) -> int | None:
        """The number of its weights for an input of this shape; None where only PyTorch knows."""
        if self.is_users:
            return None
        return KINDS[self.call.name].weights([v for v in self.values if isinstance(v, int)], shape)

    def code(self, shape: Shape) -> Code:
        """How PyTorch writes it for an input of this shape."""
        if self.is_users:
            module, _, name = self.call.name.rpartition(":")
            given = ", ".join([repr(tuple(shape)), *map(repr, self.values)])
            return Code(f"{module}.{name}({given})", "self.{m}({x})", imports=(f"import {module}",))
        return KINDS[self.call.name].code(self.values, shape)


def operation(text: str | Call) -> Operation:
    """The operation that a text names.

    Raises:
        ValueError: There is none, or its arguments are wrong. The message completes a sentence that begins with the
            text.

    >>> operation("conv(32)").values
    (32, 3, 'linear', 1)
    """
    call = read(text) if isinstance(text, str) else text
    if ":" in call.name:
        return Operation(call, call.values)
    kind = KINDS.get(call.name)
    if kind is None:
        raise ValueError(f"is no operation; known are {', '.join(KINDS)}, and a callable of yours as module:Name")
    given, known = list(call.values), list(kind.arguments)
    if kind.rest:
        known += [known[-1]] * (len(given) - len(known))
    if len(given) > len(known):
        at_most = f"at most {len(known)} argument{'s' * (len(known) != 1)}" if known else "no arguments"
        raise ValueError(f"takes {at_most}, but has {len(given)}")
    values: list[Value] = []
    for index, argument in enumerate(known):
        value = given[index] if index < len(given) else argument.default
        if value is None:
            raise ValueError(f"needs {argument.name}, as in {_example(call.name)}")
        try:
            values.append(argument.checked(value))
        except ValueError as error:
            raise ValueError(f"has a wrong argument: {error}") from None
    if call.name == "attention" and int(values[0]) % int(values[1]):
        raise ValueError(f"needs units that its heads divide, but has {values[0]} units and {values[1]} heads")
    return Operation(call, tuple(values))


def shown(shape: Shape) -> str:
    """A shape for messages.

    >>> shown((54,)), shown((3, 32, 32))
    ('54', '3 x 32 x 32')
    """
    return " x ".join(map(str, shape))


_RANKS = {1: "features", 2: "steps x features", 3: "channels x height x width"}


def _example(name: str) -> str:
    given = {"count": "64", "odd": "3", "share": "0.1", "activation": "relu"}
    return f"{name}({', '.join(given[each.kind] for each in KINDS[name].arguments if each.default is None)})"


def activated(expression: str, activation: str) -> str:
    """An expression with an activation around it.

    >>> activated("x", "relu"), activated("x", "linear")
    ('F.relu(x)', 'x')
    """
    form = ACTIVATIONS[activation]
    return form.replace("{}", expression) if form else expression


def norm_weights(norm: str, shape: Shape) -> int:
    """The weights of a normalization of an output of this shape."""
    return 0 if norm == "none" else 2 * width(shape)


def norm_code(norm: str, shape: Shape) -> str:
    """The module of a normalization of an output of this shape.

    >>> norm_code("batch", (32, 8, 8)), norm_code("layer", (64,))
    ('nn.BatchNorm2d(32)', 'nn.LayerNorm(64)')
    """
    if norm == "layer":
        return f"nn.GroupNorm(1, {shape[0]})" if len(shape) == 3 else f"nn.LayerNorm({shape[-1]})"
    return f"nn.BatchNorm{'2d' if len(shape) == 3 else '1d'}({width(shape)})"


def norm_fits(norm: str, shape: Shape) -> bool:
    """Whether a normalization can follow an output of this shape: over a batch, sequences have none."""
    return norm == "none" or len(shape) != 2 or norm == "layer"


def width(shape: Shape) -> int:
    """The channels of an image, or the features of anything else.

    >>> width((3, 32, 32)), width((8, 5))
    (3, 5)
    """
    return shape[0] if len(shape) == 3 else shape[-1]


# -- the table --------------------------------------------------------------------------------------------------------


def _same(_: Sequence[Value], shape: Shape) -> Shape:
    return shape


def _none(*_: object) -> int:
    return 0


def _plain(form: str) -> Callable[[Sequence[Value], Shape], Code]:
    """An operation without modules."""
    return lambda values, shape: Code("", form)


def _last(width: int, shape: Shape) -> Shape:
    return (*shape[:-1], width)


def _dense_code(values: Sequence[Value], shape: Shape) -> Code:
    return Code(f"nn.Linear({shape[-1]}, {values[0]})", "self.{m}({x})", str(values[1]))


def _recurrent_code(module: str) -> Callable[[Sequence[Value], Shape], Code]:
    def code(values: Sequence[Value], shape: Shape) -> Code:
        return Code(f"nn.{module}({shape[-1]}, {values[0]}, batch_first=True)", "self.{m}({x})[0]")

    return code


def _recurrent_weights(gates: int) -> Callable[[Sequence[int], Shape], int]:
    return lambda values, shape: gates * values[0] * (shape[-1] + values[0] + 2)


def _conv_out(values: Sequence[Value], shape: Shape) -> Shape:
    filters, _, _, stride = values
    assert isinstance(filters, int)
    assert isinstance(stride, int)
    return (filters, *(math.ceil(size / stride) for size in shape[1:]))


def _conv_code(values: Sequence[Value], shape: Shape) -> Code:
    filters, kernel, activation, stride = values
    assert isinstance(kernel, int)
    step = f", stride={stride}" if stride != 1 else ""
    made = f"nn.Conv2d({shape[0]}, {filters}, {kernel}, padding={kernel // 2}{step})"
    return Code(made, "self.{m}({x})", str(activation))


def _conv1d_code(values: Sequence[Value], shape: Shape) -> Code:
    filters, kernel, activation = values
    assert isinstance(kernel, int)
    made = f"nn.Conv1d({shape[1]}, {filters}, {kernel}, padding={kernel // 2})"
    return Code(made, "self.{m}({x}.transpose(1, 2)).transpose(1, 2)", str(activation))


def _pool(form: str) -> Callable[[Sequence[Value], Shape], Code]:
    return lambda values, shape: Code("", form.replace("SIZE", str(values[0])))


def _pool_out(values: Sequence[Value], shape: Shape) -> Shape:
    size = values[0]
    assert isinstance(size, int)
    return (shape[0], *(each // size for each in shape[1:]))


def _mean_code(_: Sequence[Value], shape: Shape) -> Code:
    return Code("", "{x}.mean(dim=(2, 3))" if len(shape) == 3 else "{x}.mean(dim=1)")


def _norm(norm: str) -> Callable[[Sequence[Value], Shape], Code]:
    return lambda values, shape: Code(norm_code(norm, shape), "self.{m}({x})")


def _attention_weights(values: Sequence[int], shape: Shape) -> int:
    units, features = values[0], shape[-1]
    projection = 0 if units == features else features * units + units
    return projection + 4 * units * units + 4 * units + 2 * units


def _attention_code(values: Sequence[Value], shape: Shape) -> Code:
    units, heads = values
    return Code(f"Attention({shape[-1]}, {units}, {heads})", "self.{m}({x})", helpers=("Attention",))


def _reshaped(values: Sequence[Value], shape: Shape) -> Shape:
    out = tuple(value for value in values if isinstance(value, int))
    if math.prod(out) != math.prod(shape):
        raise ShapeError(f"needs an input of {math.prod(out)} numbers, but gets {shown(shape)}")
    return out


def _activation_kind(name: str) -> Kind:
    form = ACTIVATIONS[name].replace("{}", "{x}")
    return Kind((), (1, 2, 3), _same, _none, _plain(form), f"the activation {name}")


KINDS: dict[str, Kind] = {
    "identity": Kind((), (1, 2, 3), _same, _none, _plain("{x}"), "its input as it is; in a cell: no layer"),
    "dense": Kind(
        (UNITS, ACTIVATION),
        (1, 2),
        lambda values, shape: _last(int(values[0]), shape),
        lambda values, shape: (shape[-1] + 1) * values[0],
        _dense_code,
        "a linear layer on the last axis, and an activation",
        normed=True,
    ),
    "dropout": Kind(
        (Argument("the rate", "share"),),
        (1, 2, 3),
        _same,
        _none,
        lambda values, shape: Code(f"nn.Dropout({values[0]})", "self.{m}({x})"),
        "dropout",
    ),
    "lstm": Kind(
        (UNITS,),
        (2,),
        lambda values, shape: _last(int(values[0]), shape),
        _recurrent_weights(4),
        _recurrent_code("LSTM"),
        "a long short-term memory; gives the whole sequence",
    ),
    "gru": Kind(
        (UNITS,),
        (2,),
        lambda values, shape: _last(int(values[0]), shape),
        _recurrent_weights(3),
        _recurrent_code("GRU"),
        "a gated recurrent unit; gives the whole sequence",
    ),
    "conv": Kind(
        (FILTERS, KERNEL, ACTIVATION, Argument("the stride", "count", 1)),
        (3,),
        _conv_out,
        lambda values, shape: values[0] * (shape[0] * values[1] ** 2 + 1),
        _conv_code,
        "a convolution that keeps height and width, divided by the stride, and an activation",
        normed=True,
    ),
    "conv1d": Kind(
        (FILTERS, KERNEL, ACTIVATION),
        (2,),
        lambda values, shape: _last(int(values[0]), shape),
        lambda values, shape: values[0] * (shape[1] * values[1] + 1),
        _conv1d_code,
        "a convolution along the steps of a sequence, and an activation",
        normed=True,
    ),
    "maxpool": Kind(
        (Argument("the size", "count", 2),), (3,), _pool_out, _none, _pool("F.max_pool2d({x}, SIZE)"),
        "the largest of each square",
    ),
    "avgpool": Kind(
        (Argument("the size", "count", 2),), (3,), _pool_out, _none, _pool("F.avg_pool2d({x}, SIZE)"),
        "the mean of each square",
    ),
    "mean": Kind(
        (), (2, 3), lambda values, shape: (shape[0] if len(shape) == 3 else shape[1],), _none, _mean_code,
        "the mean over steps, or over height and width",
    ),
    "last": Kind((), (2,), lambda values, shape: shape[1:], _none, _plain("{x}[:, -1]"), "the last step"),
    "repeat": Kind(
        (Argument("the number of steps", "count"),),
        (1,),
        lambda values, shape: (int(values[0]), *shape),
        _none,
        lambda values, shape: Code("", f"{{x}}.unsqueeze(1).expand(-1, {values[0]}, -1)"),
        "features as a sequence of equal steps",
    ),
    "flatten": Kind(
        (), (1, 2, 3), lambda values, shape: (math.prod(shape),), _none, _plain("{x}.flatten(1)"),
        "all numbers as features",
    ),
    "reshape": Kind(
        (Argument("a size", "count"),),
        (1, 2, 3),
        _reshaped,
        _none,
        lambda values, shape: Code("", f"{{x}}.reshape(-1, {', '.join(map(str, values))})"),
        "the same numbers in another shape",
        rest=True,
    ),
    "batchnorm": Kind(
        (), (1, 3), _same, lambda values, shape: 2 * width(shape), _norm("batch"), "normalization over the batch"
    ),
    "layernorm": Kind(
        (), (1, 2, 3), _same, lambda values, shape: 2 * width(shape), _norm("layer"),
        "normalization over the features of each example",
    ),
    "attention": Kind(
        (UNITS, Argument("heads", "count", 4)),
        (2,),
        lambda values, shape: _last(int(values[0]), shape),
        _attention_weights,
        _attention_code,
        "self-attention over the steps, after a normalization, added to its input",
    ),
    **{name: _activation_kind(name) for name in ACTIVATIONS if name not in ("linear", "swish")},
}  # fmt: skip
"""All operations by name."""
