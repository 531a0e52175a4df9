"""The decorators that register operators, layers, models, datasets and tasks.

The form of a definition is checked here, where the message can name plugin, object and parameter.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from types import CodeType
from typing import Any, TypeVar, overload

from .errors import CotanError, one_of
from .registry import MOTIONS, PER, Definition, add, at_prompt, check_motions, nearest

SIGNALS = ("vertex", "image", "volume", "sequence")


T = TypeVar("T", bound=Callable[..., Any])


@overload
def operator(name: T) -> T: ...


@overload
def operator(
    name: str | None = None,
    *,
    per: str | None = None,
    index: str | None = None,
    version: int | None = None,
    invariant_to: tuple[str, ...] = (),
    covers: Callable[[Mapping[str, Any], Mapping[str, Any]], Callable[[Any], Any] | None] | None = None,
    augments: str | None = None,
    gives: tuple[str, ...] = (),
    many: bool | Callable[..., Sequence[Any]] = False,
    observable: Callable[[Any], Any] | None = None,
    numbers: tuple[str, ...] = (),
    picture: Callable[..., None] | None = None,
    needs: Mapping[str, Any] | None = None,
    **variant: Any,
) -> Callable[[T], T]: ...


def operator(
    name: str | Callable[..., Any] | None = None,
    *,
    per: str | None = None,
    index: str | None = None,
    version: int | None = None,
    invariant_to: tuple[str, ...] = (),
    covers: Callable[[Mapping[str, Any], Mapping[str, Any]], Callable[[Any], Any] | None] | None = None,
    augments: str | None = None,
    gives: tuple[str, ...] = (),
    many: bool | Callable[..., Sequence[Any]] = False,
    observable: Callable[[Any], Any] | None = None,
    numbers: tuple[str, ...] = (),
    picture: Callable[..., None] | None = None,
    needs: Mapping[str, Any] | None = None,
    **variant: Any,
) -> Any:
    """Register a pure function whose positional parameters name the nodes it needs and whose keyword-only ones are options.

    Arguments:
        name: the node's name; the function's own by default. Keyword arguments not listed here select a variant of it.
        per: vertex, edge, face or shape: how values of several shapes make a batch.
        index: "vertex" where the values are vertex numbers, which a batch offsets.
        version: part of a stored value's address, to be raised when results change. Without one it is the function's own
            code, with the functions, numbers and texts of its module that it names: an edit of these is met by itself, one
            of what other modules define is not.
        invariant_to: motions of `pos` that leave the value as it is, out of permutation, rigid, isometry, scale.
        covers: `covers(stored, wanted)` gives a function that cuts the wanted value out of a stored one, or None.
        augments: for an operator that gives a changed copy of the data: the motion ("rigid", "scale"), or a word of your
            own for what is none of pos ("edges"), to which nothing is invariant.
        gives: for an operator whose value is a `Data`: the sources in it; of an augmentation that leaves vertices out, num_nodes
            among them.
        many: how it may be evaluated on several shapes at once, with the same numbers as on each alone. True: the value on
            a disjoint union of shapes is the union of their values. Or a function of the same parameters that takes a list
            for each input and gives a list.
        observable: what of the value is free of arbitrary choices (signs, frames); the test kit compares that.
        numbers: the options that hold vertex numbers.
        picture: `picture(file, value, **parameters)` draws a value into an open file, as a PNG, for `cotan compute --out`;
            the parameters are the operator's own, by name: its inputs, and all of its options.
        needs: {parameter: request} asks for another node than that of its name; a request by the caller wins.

    >>> @cotan.operator(per="vertex", invariant_to=("isometry",))
    ... def mass(pos, face): ...
    """
    if callable(name):
        return operator()(name)

    def register(function: T) -> T:
        origin = _origin(function)
        own = name or function.__name__
        where = f"operator {own!r} ({origin})"
        if per is not None and per not in PER:
            raise CotanError(f"{where}: per={per!r}, expected one of {', '.join(PER)}")
        if index not in (None, "vertex"):
            raise CotanError(f"{where}: index={index!r}, expected 'vertex'")
        check_motions(invariant_to, where)
        other = [source for source in gives if source not in ("pos", "normal")]
        if other and augments in MOTIONS:
            raise CotanError(
                f"{where}: augments={augments!r} is a motion of pos, and what is invariant to that would not see the "
                f"{other[0]} that it gives; expected a word of your own, such as augments='edges'"
            )
        if not own.isidentifier():
            raise CotanError(
                f"{where}: an operator's name is a Python identifier, since it is used as a parameter name"
            )
        inputs, optional, options, loose = _signature(function, where)
        if loose:
            raise CotanError(f"{where}: an operator's options are named one by one, not **{loose}")
        if own in inputs:
            raise CotanError(f"{where}: parameter {own!r} is the node itself")
        for parameter in needs or {}:
            one_of(f"parameter of {where} named in needs", parameter, inputs)
        add(
            Definition(
                "operator",
                own,
                function,
                origin,
                inputs,
                optional,
                options,
                variant=dict(variant),
                per=per,
                index=index,
                version=version,
                code=_code_of(function, many) if version is None else None,
                invariant_to=_implied(invariant_to),
                covers=covers,
                augments=augments,
                gives=gives,
                many=many,
                observable=observable,
                numbers=numbers,
                picture=picture,
                needs=dict(needs or {}),
            )
        )
        returned = _returned(function)
        if isinstance(returned, type) and issubclass(returned, tuple) and hasattr(returned, "_fields"):
            from .traceable import register_tuple  # imports torch

            register_tuple(returned)
        return function

    return register


def layer(name: str, *, signal: str = "vertex", invariant_to: tuple[str, ...] = ()) -> Callable[[T], T]:
    """Register an `nn.Module` with `__init__(self, in_dim, out_dim, *, options)` and `forward(self, x, *nodes)`.

    None of its options may have the name of one of the stack's, except dropout.
    `signal` says what x is: vertex (V, C), image (B, C, H, W), volume (B, C, D, H, W) or sequence (B, C, L).
    `invariant_to` are the motions of `pos` that leave the output as it is, as of an operator; `self.invariant_to` replaces them
    where options change them.

    >>> @cotan.layer("heat")
    ... class Heat(nn.Module):
    ...     def __init__(self, in_dim, out_dim): ...
    ...     def forward(self, x, laplacian, mass): ...
    """
    return _module("layer", name, signal=signal, invariant_to=invariant_to)


def model(name: str, *, signal: str = "vertex", tasks: tuple[str, ...] | None = None) -> Callable[[T], T]:
    """Register an `nn.Module` with `__init__(self, in_dim, out_dim, *, task=..., options)`; `forward` as in a layer.

    A `forward` without `x` starts from its nodes. `tasks` lists what it can do; all tasks by default. For a task that extends a
    listed one, `task` is the listed one's name. `**options` beside an option `layer` that names a layer are that layer's.
    """
    return _module("model", name, signal=signal, tasks=tasks)


def dataset(name: str, *, version: Any = None) -> Callable[[T], T]:
    """Register a function of keyword-only options that gives an object with `.train`, `.val` and `.test` (lists of Data).

    With a `version`, to be raised when the shapes change, they are kept in the store: a number, or a function of the options
    that gives values that stand for the shapes. Without one the dataset is made anew each time.
    """
    _check_name("dataset", name)

    def register(function: T) -> T:
        origin = _origin(function)
        inputs, _, options, loose = _signature(function, f"dataset {name!r} ({origin})")
        if inputs:
            raise CotanError(
                f"dataset {name!r} ({origin}): parameter {inputs[0]!r} must be keyword-only, with a default"
            )
        told = {"options": options, "open_options": bool(loose), "version": version, "code": _code_of(function)}
        add(Definition("dataset", name, function, origin, **told))
        return function

    return register


def task(name: str) -> Callable[[T], T]:
    """Register a class with `per` ("shape" or "vertex"), `loss(output, target)` and `metrics(output, target)`.

    `categorical = True` says that targets are classes; the loss then takes `weight`, of each class, and `smoothing`.
    `scaled = True` says that they are numbers of any size: `fit` scales models to train's mean and deviation, and the
    loss takes `deviation`. `chosen_by = "f1"` names the metric by which `fit` chooses the epoch and tables compare models:
    the highest, or the lowest of one whose name ends in "error" or "loss", or in that and a number. By default it is
    `accuracy`, where there is one, else the loss.
    """

    _check_name("task", name)

    def register(cls: T) -> T:
        origin = _origin(cls)
        for attribute in ("per", "loss", "metrics"):
            if not hasattr(cls, attribute):
                raise CotanError(f"task {name!r} ({origin}) has no {attribute!r}: a task has per, loss and metrics")
        if cls.per not in ("shape", "vertex"):  # type: ignore[attr-defined]
            raise CotanError(f"task {name!r} ({origin}): per={cls.per!r}, expected 'shape' or 'vertex'")  # type: ignore[attr-defined]
        for attribute, default in {"categorical": False, "scaled": False, "template": False, "chosen_by": None}.items():
            setattr(cls, attribute, getattr(cls, attribute, default))
        add(Definition("task", name, cls, origin))
        return cls

    return register


def _module(kind: str, name: str, **declared: Any) -> Callable[[T], T]:
    _check_name(kind, name)

    def register(cls: T) -> T:
        origin = _origin(cls)
        where = f"{kind} {name!r} ({origin})"
        if declared["signal"] not in SIGNALS:
            raise CotanError(f"{where}: signal={declared['signal']!r}, expected one of {', '.join(SIGNALS)}")
        check_motions(declared.get("invariant_to", ()), where)
        if not callable(getattr(cls, "forward", None)):
            raise CotanError(f"{where} has no forward method")
        dims, _, options, loose = _signature(cls.__init__, where, skip_self=True)  # type: ignore[misc]
        if dims != ("in_dim", "out_dim"):
            raise CotanError(
                f"{where}: __init__ takes in_dim and out_dim, then keyword-only options; it has ({', '.join(dims)}"
                f"{', *' if options else ''})"
            )
        inputs, optional, keyword_only, rest = nodes_of(cls, where)
        if keyword_only:
            raise CotanError(
                f"{where}: forward takes nodes only; {next(iter(keyword_only))!r} is keyword-only (an option?)"
            )
        if kind == "layer" and "x" not in inputs:
            raise CotanError(f"{where}: forward has no parameter 'x', the signal")
        if rest:
            from .network import Network

            if not issubclass(cls, Network):  # type: ignore[arg-type]
                raise not_named(where, rest)
        if kind == "layer":
            from .stack import Stack

            stack = nearest(Stack.__mro__)
            for option in options:
                if option != "dropout" and stack is not None and option in stack.options:
                    raise CotanError(
                        f"{where}: option {option!r} is one of the stack's, which makes a model of a layer: expected another "
                        "name (dropout alone is for both)"
                    )
        if kind == "model" and "task" not in options and not loose:
            raise CotanError(f"{where}: __init__ has no keyword-only option 'task'")
        add(Definition(kind, name, cls, origin, inputs, optional, options, bool(loose), code=_code_of(cls), **declared))
        return cls

    return register


def nodes_of(
    cls: Any, where: str, foreign: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any], str | None]:
    """`_signature` of `forward`, whose **rest are the nodes of the registered class that it extends, if it does."""
    inputs, optional, options, rest = _signature(cls.forward, where, skip_self=True, foreign=foreign)
    extended = nearest(cls.__mro__[1:])
    if rest and extended is not None:
        more = tuple(name for name in extended.inputs if name not in inputs)
        return inputs + more, optional + tuple(name for name in extended.optional if name in more), options, None
    return inputs, optional, options, rest


def not_named(where: str, rest: str) -> CotanError:
    return CotanError(f"{where}: forward takes **{rest}: name them one by one, or subclass cotan.Network")


def _signature(
    function: Callable[..., Any], where: str, skip_self: bool = False, foreign: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any], str | None]:
    """(node parameters, those of them that have a default, options with defaults, name of **rest or None)."""
    inputs, optional, options, loose = [], [], {}, None
    for parameter in list(inspect.signature(function).parameters.values())[int(skip_self) :]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise CotanError(f"{where}: parameter *{parameter.name}: nodes are named one by one")
        if parameter.kind is parameter.VAR_KEYWORD:
            loose = parameter.name
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                raise CotanError(f"{where}: option {parameter.name!r} has no default")
            options[parameter.name] = parameter.default
        elif parameter.default is parameter.empty:
            inputs.append(parameter.name)
        elif parameter.default is None or foreign:
            inputs.append(parameter.name)
            optional.append(parameter.name)
        else:
            raise CotanError(
                f"{where}: parameter {parameter.name!r} has a default, so it is an option: put a * before it "
                "(a node that the data may lack has the default None)"
            )
    return tuple(inputs), tuple(optional), options, loose


def _returned(function: Callable[..., Any]) -> Any:
    """What a function says it returns; a name where its module does not know it."""
    plain = inspect.unwrap(function)
    declared = getattr(plain, "__annotations__", {}).get("return")
    return plain.__globals__.get(declared, declared) if isinstance(declared, str) else declared


def _check_name(kind: str, name: Any) -> None:
    """A decorator without parentheses is handed the class or function."""
    if not isinstance(name, str):
        raise CotanError(f"@cotan.{kind} wants a name: @cotan.{kind}({name.__name__.lower()!r})")


def _code_of(function: Callable[..., Any], many: Any = False) -> Callable[[], str]:
    """`_code` when it is asked for, as functions that are called may stand below. A plan with it goes to other processes."""
    return partial(_code_now, function, many)


def _code_now(function: Callable[..., Any], many: Any) -> str:
    """Each time anew where a person may change what stands there, by another cell of a notebook or by %autoreload."""
    return (_code if at_prompt() or function.__module__ == "__main__" else _code_once)(function, many)


def _code(*functions: Any) -> str:
    """A digest of the code of functions and classes, of what they wrap, and of the functions, classes, numbers and texts that
    these enclose or name in their module; comments do not count."""

    def said(part: Any) -> Any:
        if isinstance(part, CodeType):
            return [part.co_code.hex(), part.co_names, part.co_varnames, part.co_freevars, *map(said, part.co_consts)]
        if isinstance(part, frozenset):  # its order is another one in each process
            return sorted(map(repr, part))
        return repr(part)

    def plain(value: Any) -> bool:
        return all(map(plain, value)) if isinstance(value, tuple) else isinstance(value, bool | int | float | str)

    parts, todo = [], list(functions)
    for i, function in enumerate(todo):  # which grows meanwhile
        code = getattr(function, "__code__", None)
        values = []
        if code is not None:
            # Not what it sets itself, such as a count of its calls, nor what is another text in a script or another place.
            not_code = {*_names(code, "STORE_GLOBAL", "STORE_DEREF"), "__name__", "__file__"}
            for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or ()):
                with suppress(ValueError):  # of a name that is bound later
                    values += [cell.cell_contents] if name not in not_code else []
            looked_up = _names(code, "LOAD_GLOBAL", "LOAD_NAME")  # co_names has attributes too, as `size` of x.size()
            values += [function.__globals__.get(name) for name in looked_up if name not in not_code]
        if i >= len(functions):  # those of the operator are its options
            values += [
                getattr(function, "__defaults__", None),
                *(getattr(function, "__kwdefaults__", None) or {}).values(),
            ]
        if isinstance(function, type):
            for name, v in vars(function).items():
                under = [getattr(v, at) for at in ("fget", "__func__", "func") if hasattr(v, at)]  # of a property, say
                values += under or ([v] if callable(v) or not name.startswith("__") else [])
            values += function.__mro__[1:]
        parts.append([said(code), *(repr(value) for value in values if plain(value))])
        own = [v for v in values if callable(v) and getattr(v, "__module__", None) == function.__module__]
        more = (v for v in (getattr(function, "__wrapped__", None), *own) if v is not None)
        todo += [v for v in more if not any(v is each for each in todo)]  # `in` would ask an `==` of anyone's
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


_code_once = cache(_code)


@cache
def _names(code: CodeType, *operations: str) -> list[str]:
    """The names in some instructions of a function and of those in it."""
    own = [i.argval for i in dis.get_instructions(code) if i.opname in operations]
    inner = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part, *operations)]
    return list(dict.fromkeys(own + inner))


def _implied(motions: tuple[str, ...]) -> tuple[str, ...]:
    return (*motions, "rigid") if "isometry" in motions and "rigid" not in motions else motions


def _origin(target: Any) -> str:
    if not hasattr(target, "__qualname__"):
        raise CotanError(f"expected a function or a class, got a {type(target).__name__}: define one that calls it")
    return f"{target.__module__}.{target.__qualname__}"
