"""The parts of an operator that follow from its description, one line an argument.

    x: rows[N, D]               a tensor: its elements (see ELEMENTS) and its shape
    weight: floats[3H, H≥1]     a size may be a multiple of another, and have a least value
    nodes: int64[R = N]? < N    may be None (then R is N); ids in [0, N)
    sizes: int64[S] on the CPU  wherever the operator's other tensors are
    n_layers: size              an int of at least 0
    rest: number                a float, or a float64 tensor of one element on the CPU or where the others are
    seed: seed                  an int, a tensor or None, see _seed.py
    graph: graph                a BipartiteGraph, of N nodes

They are the checks, in the order of the lines, where a size is known from the lines before; that tensors are made
contiguous; the choice of the backend; and, with a line a result, the fake kernel. Gradients are in an operator's file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._backend import use_reference
from ans_fast.ops._library import register_fake, require_cuda_kernels
from ans_fast.ops._seed import check_number, seed_tensor

# The dtypes of a tensor's elements, on the CPU and elsewhere. Those of an operator's first "rows" or "floats" decide
# those of the others; "sums" are of the same, but at least float32.
_LONG, _SHORT = (torch.float32, torch.float64), (torch.bfloat16, torch.float16)
ELEMENTS = {
    "rows": ((*_LONG, torch.bfloat16), _LONG + _SHORT),
    "floats": (_LONG, _LONG),
    "sums": (_LONG, _LONG),
    "float32": ((torch.float32,),) * 2,
    "int64": ((torch.int64,),) * 2,
}
_CPU = torch.device("cpu")
_LINE = re.compile(r"(\w+): (\w+)(?:\[(.+)\])?(\?)?( on the CPU)?(?: < (\w+))?")
_SIZE = re.compile(r"(\d*)([a-zA-Z]\w*)?(?:≥(\d+)| = (\w+)| \+ (\d+))?")


class _Size(NamedTuple):
    """times · symbol + plus; without a symbol, the number `times`."""

    times: int
    symbol: str
    least: int
    absent: str  # the symbol that gives this one's value where the tensor is None
    plus: int

    @classmethod
    def list(cls, shape: str) -> list[_Size]:
        """The sizes of a shape, such as "B, 3H, n_layers + 1"."""
        found = [_SIZE.fullmatch(text).groups() for text in shape.split(", ")]
        return [
            cls(int(n or 1), symbol or "", int(low or 0), absent or "", int(plus or 0))
            for n, symbol, low, absent, plus in found
        ]

    def of(self, sizes: dict[str, int]) -> int:
        return self.times * sizes[self.symbol] + self.plus if self.symbol else self.times

    def __str__(self) -> str:
        return f"{self.times if self.times > 1 or not self.symbol else ''}{self.symbol}"


class _Argument:
    """A line of a description."""

    def __init__(self, line: str, known: set[str]):
        self.name, self.elements, shape, optional, on_cpu, self.below = _LINE.fullmatch(line).groups()
        self.optional, self.on_cpu = bool(optional), bool(on_cpu)
        self.dtypes = ELEMENTS.get(self.elements)
        self.is_tensor, self.is_floating = shape is not None, self.elements in ("rows", "floats")
        self.sizes = _Size.list(shape) if shape else []
        symbols = [size.symbol for size in self.sizes]
        self.free = {symbol for symbol in symbols if symbol not in known and symbols.count(symbol) == 1}
        self.plain = [(at, s.symbol, s.least) for at, s in enumerate(self.sizes) if s.symbol and s.times == 1]
        self.others = [(at, s) for at, s in enumerate(self.sizes) if not s.symbol or s.times > 1]

    def add_sizes(self, tensor: Tensor | None, sizes: dict[str, int]) -> None:
        """Adds the sizes that are unknown so far."""
        if tensor is None:
            sizes.update({size.symbol: sizes[size.absent] for size in self.sizes if size.absent})
        else:
            for at, symbol, _ in self.plain:
                sizes.setdefault(symbol, tensor.shape[at])

    def check(self, tensor: Any, sizes: dict[str, int], of_rows: torch.dtype | None) -> None:
        """TypeError or ValueError unless it is a tensor of the sizes known and of the dtype described; adds its sizes.

        `of_rows` is the dtype that the operator's first rows have, None for these themselves.
        """
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{self.name} must be a tensor [{self._shape(sizes)}], got {type(tensor).__name__}")
        if not self._fits(tensor.shape, sizes):
            raise ValueError(f"{self.name} must be [{self._shape(sizes)}], got {list(tensor.shape)}")
        wanted = self.dtypes[not tensor.is_cpu]
        if self.elements == "sums":
            wanted = (torch.promote_types(of_rows, torch.float32),)
        elif self.is_floating and of_rows is not None:
            wanted = (of_rows,)
        if tensor.dtype not in wanted:
            names = [str(dtype).removeprefix("torch.") for dtype in (*wanted, tensor.dtype)]
            raise TypeError(f"{self.name} must be {' or '.join(names[:-1])}, got {names[-1]}")

    def _fits(self, shape: torch.Size, sizes: dict[str, int]) -> bool:
        if len(shape) != len(self.sizes):
            return False
        for at, symbol, least in self.plain:
            have = shape[at]
            if sizes.setdefault(symbol, have) != have:
                return False
            if have < least:
                raise ValueError(f"{self.name} must have {symbol} of at least {least}, got {have}")
        for at, size in self.others:  # noqa: SIM110 (a generator would take as long as the rest)
            if size.of(sizes) != shape[at]:
                return False
        return True

    def _shape(self, sizes: dict[str, int]) -> str:
        known = (size.symbol in sizes and size.symbol not in self.free for size in self.sizes)
        return ", ".join(f"{s} = {s.of(sizes)}" if k else str(s) for s, k in zip(self.sizes, known, strict=True))


class Operator:
    """An operator of `ans_fast.ops`: a function of the arguments of the function of its name in `ans_fast.reference`.

    Args:
        name: the operator's.
        lines: its description; the first line is that of a tensor.
        results: a line a result of the compiled operator: elements and shape. (): the file registers a fake kernel.
        schema: the compiled operator's name. Default: `name`.
        check: called with checked arguments, raises for what the description does not say.
        kernels: called with checked arguments, runs the compiled kernels. Default: the compiled operator.
        plain: runs the reference, where that takes more than a call of its function.
        instead_of_cuda: what to use on a GPU, where the operator has no kernels.
    """

    def __init__(
        self,
        name: str,
        *lines: str,
        results: Sequence[str] = (),
        schema: str | None = None,
        check: Callable | None = None,
        kernels: Callable | None = None,
        plain: Callable | None = None,
        instead_of_cuda: str | None = None,
    ):
        self.name, self.check, self.plain, self.instead_of_cuda = name, check, plain, instead_of_cuda
        self.kernels = kernels or getattr(torch.ops.ans_fast, name)
        names = list(inspect.signature(getattr(reference, name)).parameters)
        self.graph = names.index("graph") if "graph" in names else None
        described = _arguments(lines, set() if self.graph is None else {"N"})
        self.arguments = [(names.index(argument.name), argument) for argument in described]
        if results:
            register_described_fake(schema or name, *lines, results=results)

    def __call__(self, *arguments: Any) -> Any:
        """The result on the backend of this context. ValueError, TypeError: an argument is not as described."""
        values, sizes = list(arguments), {}
        if self.graph is not None:
            sizes["N"] = values[self.graph].n_nodes
        device = of_rows = None
        for at, argument in self.arguments:
            value = values[at]
            if argument.is_tensor:
                if value is None and argument.optional:
                    continue
                argument.check(value, sizes, of_rows)
                here = value.device
                if device is None:
                    device = here
                if argument.is_floating:
                    of_rows = value.dtype
                wanted = _CPU if argument.on_cpu else device
                if here != wanted:
                    raise ValueError(f"{argument.name} must be on {wanted}, got {here}")
                values[at] = value.contiguous()
            elif argument.elements == "seed":
                values[at] = seed_tensor(value, device)
            elif argument.elements == "number":
                if isinstance(value, Tensor):
                    check_number(argument.name, value, torch.float64, device)
                    values[at] = value.reshape(())  # so that beside rows it leaves their dtype
            elif argument.elements == "size":
                if value < 0:
                    raise ValueError(f"{argument.name} must be at least 0, got {value}")
                sizes[argument.name] = value
            elif value.device != device:
                first = self.arguments[0][1].name
                raise ValueError(f"graph must be on {first}'s device {device}, got {value.device}: use graph.to(...)")
        if self.check is not None:
            self.check(*values)
        if use_reference():
            return self._reference(values, sizes, device)
        if device.type != "cpu":
            self._check_kernels(device)
        return self.kernels(*values)

    def _reference(self, values: list, sizes: dict[str, int], device: torch.device) -> Any:
        for at, argument in self.arguments:
            if argument.elements == "seed":
                values[at] = values[at].to(device)
            elif argument.below and values[at] is not None:
                n = sizes[argument.below] if argument.below in sizes else getattr(values[self.graph], argument.below)
                check_ids(argument.name, values[at], n)
        return (self.plain or getattr(reference, self.name))(*values)

    def _check_kernels(self, device: torch.device) -> None:
        """RuntimeError if `device` has no compiled kernels here; it says what to use instead."""
        plain = "ans_fast.backend('reference')"
        if self.instead_of_cuda:
            raise RuntimeError(f"{self.name} has kernels for cpu, got {device}: use {self.instead_of_cuda} or {plain}")
        if device.type != "cuda":
            raise RuntimeError(f"ans_fast has kernels for cpu and cuda, got {device}: use {plain}")
        require_cuda_kernels()


def _arguments(lines: Sequence[str], known: set[str]) -> list[_Argument]:
    arguments = []
    for line in lines:
        arguments.append(_Argument(line, known))
        known = known | {size.symbol for size in arguments[-1].sizes}
    return arguments


def register_described_fake(schema: str, *lines: str, results: Sequence[str]) -> None:
    """Registers a fake kernel whose results are described; their sizes are those of the tensors and ints described."""
    names = [argument.name for argument in getattr(torch.ops.ans_fast, schema).default._schema.arguments]
    tensors = [argument for argument in _arguments(lines, set()) if argument.is_tensor]
    rows = next((argument.name for argument in tensors if argument.is_floating), None)
    made = [(elements, _Size.list(shape)) for elements, shape in (result[:-1].split("[") for result in results)]

    def dtype_of(elements: str, given: dict[str, Any]) -> torch.dtype:
        if elements == "sums":
            return torch.promote_types(given[rows].dtype, torch.float32)
        return given[rows].dtype if elements in ("rows", "floats") else ELEMENTS[elements][0][0]

    def fake(*inputs: Any) -> Any:
        given = dict(zip(names, inputs, strict=True))
        sizes = {name: value for name, value in given.items() if not isinstance(value, Tensor)}
        for argument in tensors:
            argument.add_sizes(given[argument.name], sizes)
        new_empty = given[tensors[0].name].new_empty
        outputs = [new_empty([s.of(sizes) for s in shape], dtype=dtype_of(elements, given)) for elements, shape in made]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    register_fake(schema)(fake)


def check_ids(name: str, ids: Tensor, n: int) -> None:
    """ValueError unless all ids are in [0, n): for the reference; the kernels check by themselves."""
    wrong = ((ids < 0) | (ids >= n)).flatten()
    if wrong.any():
        position = int(wrong.nonzero()[0])
        raise ValueError(f"{name} must be in [0, {n}), got {int(ids.flatten()[position])} at position {position}")
