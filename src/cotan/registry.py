"""Names to plugins. Standard library only.

A plugin is a package with one entry point in the group `cotan.plugins` and decorators inside it.
Entry points are loaded at the first lookup; one that fails to import is remembered with its reason and stops nothing else.
The shape of a definition is checked at its decorator, where the message can name plugin, object and parameter.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import CodeType
from typing import Any, TypeVar, overload

from .errors import CotanError, expect, unknown, unknown_option

KINDS = ("operator", "layer", "model", "dataset", "task")
PER = ("vertex", "edge", "face", "shape")
MOTIONS = ("permutation", "rigid", "isometry", "scale")
WRAPPERS = ("OptimizedModule", "DistributedDataParallel", "DataParallel", "AveragedModel", "FullyShardedDataParallel")
SIGNALS = ("vertex", "image", "volume", "sequence")

T = TypeVar("T", bound=Callable[..., Any])
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Definition:
    """One registered name (or one variant of an operator's name)."""

    kind: str
    name: str
    target: Any
    origin: str  # "module.qualname"
    inputs: tuple[str, ...] = ()  # operators: nodes needed; layers and models: nodes that `forward` needs
    optional: tuple[str, ...] = ()  # the inputs that have a default, and are left out where the data lacks them
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword-only parameters with their defaults
    open_options: bool = False  # takes **options of another definition
    variant: Mapping[str, Any] = field(default_factory=dict)
    # What the decorator said: see `operator`, `layer` and `model`.
    per: str | None = None
    index: str | None = None
    version: Any = None
    invariant_to: tuple[str, ...] = ()
    covers: Callable[..., Any] | None = None
    augments: str | None = None
    gives: tuple[str, ...] = ()
    many: Any = False
    observable: Callable[[Any], Any] | None = None
    numbers: tuple[str, ...] = ()
    picture: Callable[..., None] | None = None
    needs: Mapping[str, Any] = field(default_factory=dict)
    signal: str = "vertex"
    tasks: tuple[str, ...] | None = None

    @property
    def source(self) -> str:
        """File and line of the definition, for people."""
        try:
            path, line = inspect.getsourcefile(self.target), inspect.getsourcelines(self.target)[1]
        except (OSError, TypeError):
            return self.origin
        return f"{path}:{line}"

    @property
    def line(self) -> str:
        """What it is, in a line: the first of its docstring."""
        return str(self.target.__doc__ or "").strip().split("\n")[0]


@dataclass
class _State:
    definitions: dict[tuple[str, str], list[Definition]] = field(default_factory=dict)
    by_class: dict[type, Definition] = field(default_factory=dict)  # of layers and models
    failures: dict[str, str] = field(default_factory=dict)  # entry point -> reason
    plugins: dict[str, str] = field(default_factory=dict)  # entry point -> distribution
    loading: bool = False
    loaded: bool = False
    lock: Any = field(default_factory=threading.RLock)


_state = _State()


# --- decorators -------------------------------------------------------------------------------------------------------


@overload
def operator(name: F) -> F: ...


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
            code, with the numbers and texts of its module that it names: an edit of these is met by itself, one of what it
            calls is not.
        invariant_to: motions of `pos` that leave the value as it is, out of permutation, rigid, isometry, scale.
        covers: `covers(stored, wanted)` gives a function that cuts the wanted value out of a stored one, or None.
        augments: for an operator that gives a changed copy of the data: the motion ("rigid", "scale"), or a word of your
            own for what is none of pos ("edges"), to which nothing is invariant.
        gives: for an operator whose value is a `Data`: the sources in it.
        many: how it is evaluated on several shapes at once, to the same numbers. True: the value on a disjoint union of
            shapes is the union of their values. Or a function of the same parameters, with a list of each input, that
            gives a list.
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
        _check_motions(invariant_to, where)
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
            if parameter not in inputs:
                raise unknown(f"parameter of {where} named in needs", parameter, inputs)
        _add(
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
                version=_code(function, many) if version is None else version,
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

    Its options have other names than the stack's, but for dropout.
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

    A `forward` without `x` starts from its nodes. `tasks` lists what it can do; all tasks by default. `**options` beside
    an option `layer` that names a layer are that layer's.
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
        _add(Definition("dataset", name, function, origin, options=options, open_options=bool(loose), version=version))
        return function

    return register


def task(name: str) -> Callable[[T], T]:
    """Register a class with `per` ("shape" or "vertex"), `loss(output, target)` and `metrics(output, target)`.

    `categorical = True` says that targets are classes; the loss then takes `weight`, of each class, and `smoothing`.
    `scaled = True` says that they are numbers of any size: `fit` scales models to train's mean and deviation, and the
    loss takes `deviation`.
    """

    _check_name("task", name)

    def register(cls: T) -> T:
        origin = _origin(cls)
        for attribute in ("per", "loss", "metrics"):
            if not hasattr(cls, attribute):
                raise CotanError(f"task {name!r} ({origin}) has no {attribute!r}: a task has per, loss and metrics")
        if cls.per not in ("shape", "vertex"):  # type: ignore[attr-defined]
            raise CotanError(f"task {name!r} ({origin}): per={cls.per!r}, expected 'shape' or 'vertex'")  # type: ignore[attr-defined]
        for attribute in ("categorical", "scaled"):
            setattr(cls, attribute, getattr(cls, attribute, False))
        _add(Definition("task", name, cls, origin))
        return cls

    return register


def _module(kind: str, name: str, **declared: Any) -> Callable[[T], T]:
    _check_name(kind, name)

    def register(cls: T) -> T:
        origin = _origin(cls)
        where = f"{kind} {name!r} ({origin})"
        if declared["signal"] not in SIGNALS:
            raise CotanError(f"{where}: signal={declared['signal']!r}, expected one of {', '.join(SIGNALS)}")
        _check_motions(declared.get("invariant_to", ()), where)
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

            for option in options:
                if option != "dropout" and option in _state.by_class[Stack].options:
                    raise CotanError(
                        f"{where}: option {option!r} is one of the stack's, which makes a model of a layer: expected another "
                        "name (dropout alone is for both)"
                    )
        if kind == "model" and "task" not in options and not loose:
            raise CotanError(f"{where}: __init__ has no keyword-only option 'task'")
        _add(Definition(kind, name, cls, origin, inputs, optional, options, bool(loose), **declared))
        return cls

    return register


def nodes_of(
    cls: Any, where: str, foreign: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any], str | None]:
    """`_signature` of `forward`, whose **rest are the nodes of the registered class that it extends, if it does."""
    inputs, optional, options, rest = _signature(cls.forward, where, skip_self=True, foreign=foreign)
    extended = _nearest(cls.__mro__[1:])
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


def _check_motions(motions: Sequence[str], where: str) -> None:
    for motion in motions:
        if motion not in MOTIONS:
            raise CotanError(f"{where}: invariant_to={motion!r}, expected some of {', '.join(MOTIONS)}")


def _code(*functions: Any) -> str:
    """A digest of the code of functions and of what they wrap, and of the numbers and texts that these enclose or name in
    their module; comments do not count."""

    def said(part: Any) -> Any:
        if isinstance(part, CodeType):
            return [part.co_code.hex(), part.co_names, part.co_varnames, part.co_freevars, *map(said, part.co_consts)]
        if isinstance(part, frozenset):  # its order is another one in each process
            return sorted(map(repr, part))
        return repr(part)

    def names(code: CodeType) -> list[str]:
        return [
            *code.co_names,
            *(name for part in code.co_consts if isinstance(part, CodeType) for name in names(part)),
        ]

    def plain(value: Any) -> bool:
        return all(map(plain, value)) if isinstance(value, tuple) else isinstance(value, bool | int | float | str)

    parts = []
    for function in functions:
        while function is not None:
            code = getattr(function, "__code__", None)
            values = []
            for cell in getattr(function, "__closure__", None) or ():
                with suppress(ValueError):  # of a name that is bound later
                    values.append(cell.cell_contents)
            if code is not None:
                values += [function.__globals__.get(name) for name in names(code)]
            parts.append([said(code), *(repr(value) for value in values if plain(value))])
            function = getattr(function, "__wrapped__", None)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _implied(motions: tuple[str, ...]) -> tuple[str, ...]:
    return (*motions, "rigid") if "isometry" in motions and "rigid" not in motions else motions


def _origin(target: Any) -> str:
    if not hasattr(target, "__qualname__"):
        raise CotanError(f"expected a function or a class, got a {type(target).__name__}: define one that calls it")
    return f"{target.__module__}.{target.__qualname__}"


def _add(new: Definition) -> None:
    found = _state.definitions.setdefault((new.kind, new.name), [])
    for i, old in enumerate(found):
        if bool(old.variant) != bool(new.variant):
            told = ", ".join(sorted({key for each in (*found, new) for key in each.variant}))
            raise CotanError(
                f"{new.kind} {new.name!r} is defined twice: by {old.origin} and by {new.origin}. Take another name; or, if it "
                f"is a variant, give it a {told}=... of its own, as all variants have"
            )
        if old.variant != new.variant:
            continue
        # A notebook cell run twice, or a module reloaded, defines the same thing again: the newer one stands.
        if old.origin != new.origin:
            variant = "".join(f", {key}={value!r}" for key, value in new.variant.items())
            raise CotanError(f"{new.kind} {new.name!r}{variant} is defined twice: by {old.origin} and by {new.origin}")
        found[i] = new
        break
    else:
        found.append(new)
    if new.kind in ("layer", "model"):
        _state.by_class[new.target] = new


# --- lookup -----------------------------------------------------------------------------------------------------------


def load() -> None:
    """Import every plugin once. `COTAN_PLUGINS=off` leaves them out (for debugging a plugin that hangs)."""
    if _state.loaded:
        return
    with _state.lock:  # another thread waits until all is there
        if not _state.loading:  # by what is being imported itself
            _state.loading = True
            try:
                _load()
                _state.loaded = True
            finally:  # after Ctrl-C the next lookup begins again
                _state.loading = False


def _load() -> None:
    from . import builtin  # noqa: F401  (the core's own operators and tasks)

    if os.environ.get("COTAN_PLUGINS") == "off":
        return
    for entry in sorted(entry_points(group="cotan.plugins"), key=lambda e: (not e.value.startswith("cotan_"), e.name)):
        name = entry.name
        _state.plugins[name] = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
        before = {key: list(found) for key, found in _state.definitions.items()}
        try:
            entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as reason:  # a stranger's module may raise anything at all, and call sys.exit
            _state.definitions = before  # what it registered before it failed must not half-work
            _state.failures[name] = f"{type(reason).__name__}: {reason}"


def names(kind: str) -> list[str]:
    """All registered names of a kind ("operator", "layer", "model", "dataset", "task"), sorted.

    A layer's name is also a model's: the stack of it (see `create_model`).
    """
    _check_kind(kind)
    load()
    wanted = ("model", "layer") if kind == "model" else (kind,)
    return sorted({name for found, name in _state.definitions if found in wanted and _state.definitions[found, name]})


def lookup(kind: str, name: str) -> Definition:
    """The definition of a layer, model, dataset or task."""
    return variants(kind, name)[0]


def model_or_layer(name: str) -> Definition:
    """The definition behind a model's name: a layer's, where the model is the stack of it."""
    return lookup("model" if has("model", name) or not has("layer", name) else "layer", name)


def model_of(name: str, options: Mapping[str, Any]) -> tuple[Definition, Mapping[str, Any]]:
    """The model of a name with its options: of a layer's name the stack, with the layer among them."""
    definition = model_or_layer(name)
    return (
        (definition, options) if definition.kind == "model" else (lookup("model", "stack"), {"layer": name, **options})
    )


def variants(kind: str, name: str) -> list[Definition]:
    """All definitions of a name, in the order of their registration. Raises for an unknown name, with the nearest."""
    _check_kind(kind)
    load()
    found = _state.definitions.get((kind, name)) if isinstance(name, str) else None  # a list has no hash
    if not found:
        error = unknown(kind, name, names(kind))
        raise CotanError(str(error) + failures_text())
    return found


def has(kind: str, name: str) -> bool:
    load()
    return isinstance(name, str) and bool(_state.definitions.get((kind, name)))


def unwrapped(module: Any) -> Any:
    """What `torch.compile` or a wrapper of torch's was made from; else the module."""
    while type(module).__name__ in WRAPPERS:
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module
    return module


def definition_of(module: object) -> Definition | None:
    """The definition of an object's class, or of the one that it extends; of what was wrapped, if it was."""
    return _nearest(type(unwrapped(module)).__mro__)


def invariance(layer: Any) -> tuple[str, ...]:
    """The motions that a layer is declared invariant to: by its own attribute `invariant_to`, else by its decorator."""
    own: tuple[str, ...] | None = getattr(layer, "invariant_to", None)
    if own is None:
        definition = definition_of(layer)
        return definition.invariant_to if definition else ()
    where = f"a {type(layer).__name__}"
    expect(f"{where}: invariant_to={own!r}", own, list | tuple, "a tuple of motions")
    _check_motions(own, where)
    return own


def _nearest(classes: Sequence[type]) -> Definition | None:
    return next(filter(None, map(_state.by_class.get, classes)), None)


def failures() -> dict[str, str]:
    """Plugins that did not import, with the reason."""
    load()
    return dict(_state.failures)


def plugins() -> dict[str, str]:
    """Entry points of `cotan.plugins`, each with the distribution that brings it."""
    load()
    return dict(_state.plugins)


def all_definitions() -> list[Definition]:
    load()
    return [definition for found in _state.definitions.values() for definition in found]


def failures_text() -> str:
    return "".join(f"\n(plugin {name!r} failed to import: {reason})" for name, reason in _state.failures.items())


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)


def check_options(definition: Definition, options: Mapping[str, Any]) -> None:
    """Raise for an option that the definition does not take, and for text where it takes a number.

    Open options beside an option `layer` are that layer's.
    """
    takes, what = [definition], f"{definition.kind} {definition.name!r}"
    if definition.open_options and has("layer", default := definition.options.get("layer", "")):
        takes.append(lookup("layer", options.get("layer", default)))
        what = f"a {definition.name} of {takes[1].name!r}"
        for name in options:
            if name != "dropout" and all(name in each.options for each in takes):
                raise CotanError(f"option {name!r} of {what}: both have one, so the layer's wants another name")
    for name, value in options.items():
        owner = next((each for each in takes if name in each.options), None)
        if owner is not None:
            check_value(owner, name, value)
        elif not takes[-1].open_options:
            raise unknown_option(f"option of {what}", name, [own for each in takes for own in shown_options(each)])


def check_value(definition: Definition, name: str, value: Any) -> None:
    """Raise where the default is a number and the option is text, as of a slip on the command line, a truth value, part
    of a whole, or None or a list where only a number is declared; and where a list is declared and the option is none."""
    default = definition.options[name]
    if type(value) is type(default):
        return
    where = f"option {name}={value!r} of {definition.kind} {definition.name!r}"
    declared = inspect.formatannotation(inspect.signature(definition.target).parameters[name].annotation).strip("'")
    kind = declared.removesuffix(" | None")
    number = kind in ("bool", "int", "float")
    none = number and (isinstance(value, list | tuple) or (value is None and kind == declared))
    other = str if isinstance(default, bool) else str | bool
    usual = "" if default is None else f"; the default is {default}"
    lists = isinstance(default, list | tuple) or re.match(r"(collections\.abc\.)?(list|tuple|Sequence)\[", declared)
    if lists and not isinstance(value, list | tuple) and not (value is None and "None" in declared):
        raise CotanError(f"{where}: expected a list" + (usual if default else ""))
    if (number or isinstance(default, bool | int | float)) and (none or isinstance(value, other)):
        raise CotanError(f"{where}: expected {'true or false' if isinstance(default, bool) else 'a number' + usual}")
    if (isinstance(default, int) or kind == "int") and isinstance(value, float):
        raise CotanError(f"{where}: expected a whole number{usual}")


def shown_options(definition: Definition) -> dict[str, Any]:
    """Options and defaults that a person sets; `progress` is cotan's own business with a dataset."""
    return {name: default for name, default in definition.options.items() if name != "progress"}
