"""Names to definitions. Standard library only; `decorators` fill it.

A plugin is a package with one entry point in the group `cotan.plugins` and decorators inside it.
Entry points are loaded at the first lookup; one that fails to import is remembered with its reason and stops nothing else.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from .errors import CotanError, Unregistered, expect, one_of, unknown, unknown_option

KINDS = ("operator", "layer", "model", "dataset", "task")
PER = ("vertex", "edge", "face", "shape")
MOTIONS = ("permutation", "rigid", "isometry", "scale")
WRAPPERS = (
    "OptimizedModule",
    "DistributedDataParallel",
    "DataParallel",
    "AveragedModel",
    "FullyShardedDataParallel",
    "_FabricModule",  # of Lightning
)


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
    code: Callable[[], str] | None = None  # a digest of it; None for a task, and for an operator that has a version
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
    def edition(self) -> Any:
        """What stands for an operator's code in its identity: its version, else the code as it is now."""
        return self.version if self.code is None else self.code()

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


def check_motions(motions: Sequence[str], where: str) -> None:
    for motion in motions:
        if motion not in MOTIONS:
            raise CotanError(f"{where}: invariant_to={motion!r}, expected some of {', '.join(MOTIONS)}")


def at_prompt() -> bool:
    """Whether a person types what is run, in a notebook for example."""
    return hasattr(sys, "ps1")


def typed(origin: str) -> bool:
    """Whether a definition was typed there: then edits and new names replace what stood before."""
    return origin.startswith("__main__") and at_prompt()


def add(new: Definition) -> None:
    found = _state.definitions.setdefault((new.kind, new.name), [])
    if typed(new.origin):
        found[:] = [old for old in found if not typed(old.origin) or bool(old.variant) == bool(new.variant)]
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
        if old.origin != new.origin and not (typed(old.origin) and typed(new.origin)):
            variant = "".join(f", {key}={value!r}" for key, value in new.variant.items())
            raise CotanError(f"{new.kind} {new.name!r}{variant} is defined twice: by {old.origin} and by {new.origin}")
        found[i] = new
        break
    else:
        # A script may come before `load`; a list that is sorted in place is empty to another thread meanwhile.
        found[:] = sorted([*found, new], key=lambda each: not each.origin.startswith(("cotan.", "cotan_")))
    if new.kind in ("layer", "model"):
        _state.by_class[new.target] = new


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
    one_of("kind", kind, KINDS)
    load()
    wanted = ("model", "layer") if kind == "model" else (kind,)
    return sorted({name for found, name in _state.definitions if found in wanted and _state.definitions[found, name]})


def lookup(kind: str, name: str) -> Definition:
    """The definition of a layer, model, dataset or task; of an operator its first variant."""
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
    """All definitions of a name, cotan's before others, as they were registered. Raises for an unknown name."""
    one_of("kind", kind, KINDS)
    load()
    found = _state.definitions.get((kind, name)) if isinstance(name, str) else None  # a list has no hash
    if not found and kind == "model" and has("layer", name):
        raise Unregistered(f"unknown model {name!r}: it is a layer, which create_model and model_for stack to a model")
    if not found:
        raise Unregistered(f"{unknown(kind, name, names(kind))}{failures_text()}")
    return found


def has(kind: str, name: str) -> bool:
    load()
    return isinstance(name, str) and bool(_state.definitions.get((kind, name)))


def unwrapped(module: Any) -> Any:
    """The module inside `torch.compile` or a wrapper of torch's; else the module itself."""
    while type(module).__name__ in WRAPPERS:
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module
    return module


def definition_of(module: object) -> Definition | None:
    """The definition of an object's class or of the nearest class that it extends, inside a wrapper too."""
    return nearest(type(unwrapped(module)).__mro__)


def invariance(layer: Any) -> tuple[str, ...]:
    """The motions that a layer is declared invariant to: by its own attribute `invariant_to`, else by its decorator."""
    own: tuple[str, ...] | None = getattr(layer, "invariant_to", None)
    if own is None:
        definition = definition_of(layer)
        return definition.invariant_to if definition else ()
    where = f"a {type(layer).__name__}"
    expect(f"{where}: invariant_to={own!r}", own, list | tuple, "a tuple of motions")
    check_motions(own, where)
    return own


def nearest(classes: Sequence[type]) -> Definition | None:
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
            raise unknown_option(f"option of {what}", name, {own for each in takes for own in shown_options(each)})


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
    truth = isinstance(default, bool) or kind == "bool"
    other = str if truth else str | bool
    usual = "" if default is None else f"; the default is {default}"
    lists = isinstance(default, list | tuple) or re.match(r"(collections\.abc\.)?(list|tuple|Sequence)\[", declared)
    if lists and not isinstance(value, list | tuple) and not (value is None and "None" in declared):
        raise CotanError(f"{where}: expected a list" + (usual if default else ""))
    if (number or isinstance(default, bool | int | float)) and (none or isinstance(value, other)):
        also = " or a list, [1, 2] say" if re.search(r"\b(list|tuple|Sequence)\[", declared) else ""
        raise CotanError(f"{where}: expected {'true or false' if truth else 'a number' + also + usual}")
    if (isinstance(default, int) or kind == "int") and isinstance(value, float):
        raise CotanError(f"{where}: expected a whole number{usual}")


def shown_options(definition: Definition) -> dict[str, Any]:
    """Options and defaults that a person sets; `progress` is cotan's own business with a dataset."""
    return {name: default for name, default in definition.options.items() if name != "progress"}
