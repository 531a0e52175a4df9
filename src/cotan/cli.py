"""The command line. Nothing heavy is imported before a command runs, so that `--help` answers at once."""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import CotanError, MeshWarning, one_of, shown

app = typer.Typer(
    name="cotan",
    help="Geometric deep learning on one shared computational graph.\n\nStart with: cotan list",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="An option of the node or model (see: cotan list NAME), k=64 or times=[1,2]; repeat for more.",
    ),
]


STOPPED = 130  # the exit status after Ctrl-C


def say(what: object = "", **where: Any) -> None:
    """Print, where names of files and classes steer no terminal."""
    print(shown(str(what)), **where)


def main() -> None:
    """Run the command line: one clear message and exit status 2 for bad input."""
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}", file=sys.stderr)  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without accents still says the rest
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        code = getattr(end, "code", STOPPED)
        if code == STOPPED:  # typer turns Ctrl-C into an exit without a word
            say("stopped; what was computed is kept: bench goes on by itself, fit with --resume", file=sys.stderr)
        sys.exit(code)
    except OSError as reason:
        where = f"{reason.filename}: {reason.strerror}" if reason.filename else str(reason)
        say(f"error: {where}", file=sys.stderr)
        sys.exit(2)
    except Exception as reason:
        if os.environ.get("COTAN_DEBUG"):
            raise
        if isinstance(reason, CotanError):
            say(f"error: {reason}", file=sys.stderr)
            sys.exit(2)
        *_, last = traceback.extract_tb(reason.__traceback__)
        first_line = (str(reason).splitlines() or [""])[0]
        say(
            f"error: {type(reason).__name__}: {first_line} ({last.filename}:{last.lineno}). cotan did not expect this: "
            "COTAN_DEBUG=1 before the command shows how it came to be",
            file=sys.stderr,
        )
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"cotan {__version__}")
        raise typer.Exit


@app.callback()
def _cotan(
    version: Annotated[
        bool, typer.Option("--version", help="Say which cotan this is.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command("list", epilog="Example: cotan list layer, or cotan list folder")
def list_names(
    kind: Annotated[str, typer.Argument(help="operator, layer, model, dataset, task, suite or all; or a name")] = "all",
) -> None:
    """List what there is, a line each. With a name, say what that is, its options and their defaults."""
    from . import registry
    from .suite import shipped

    found_kinds = [each for each in registry.KINDS if registry.has(each, kind)]
    if found_kinds:
        for each in found_kinds:
            for definition in registry.variants(each, kind):
                _describe(definition)
        return
    suites = shipped()
    if kind in suites:
        say(suites[kind].read_text("utf-8"), end="")
        return
    all_kinds = (*registry.KINDS, "suite")
    kinds = all_kinds if kind == "all" else (kind.removesuffix("s"),)
    if kinds[0] not in all_kinds:
        if _function(kind):
            return
        one_of(
            "kind or name", kind, {*all_kinds, *suites, *(name for k in registry.KINDS for name in registry.names(k))}
        )
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    for each in kinds:
        if each == "suite":
            found = {name: file.read_text("utf-8").partition("\n")[0].lstrip("# ") for name, file in suites.items()}
        else:
            own = (name for name in registry.names(each) if registry.has(each, name))
            found = {name: registry.lookup(each, name).line for name in own}
        width = max(map(len, found), default=0)
        say(f"{each}s" + (", and each layer: the stack of it (cotan list stack)" if each == "model" else ""))
        for name, line in found.items():
            say(textwrap.fill(f"  {name:<{width}}  {line}", columns, subsequent_indent=" " * (width + 4)))
    for name, reason in registry.failures().items():
        say(f"warning: plugin {name!r} failed to import: {reason}", file=sys.stderr)


def _describe(definition: Any) -> None:
    """A definition's equation, what it needs and its options; a layer's stack has the options of `stack` too."""
    import inspect as python

    from . import registry

    variant = "".join(f" {key}={value}" for key, value in definition.variant.items())
    say(f"{definition.kind} {definition.name}{variant}  ({definition.origin})\n")
    say((python.getdoc(definition.target) or "").strip() + "\n")
    needs = [getattr(definition.needs.get(name), "key", name) for name in definition.inputs if name != "x"]
    if needs:
        say(f"needs: {', '.join(needs)}")
    options = registry.shown_options(definition)
    say("options: " + (", ".join(f"{name}={value!r}" for name, value in options.items()) or "none"))
    if definition.kind == "layer" and not registry.has("model", definition.name):
        say("as a model, also those of the stack of it: cotan list stack")
    say()


def _function(name: str) -> bool:
    """Say all of a function of tensors, which is no node; whether there is one of the name."""
    import inspect as python

    from . import operators

    if name not in operators.__all__:
        return False
    signature = python.signature(getattr(operators, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    called = signature.replace(parameters=bare, return_annotation=signature.empty)
    say(f"function cotan.operators.{name}{called}\n\n{python.getdoc(getattr(operators, name))}")
    return True


@app.command(epilog="Example: cotan show spectral mlp --out plan.svg, or cotan show --filters runs/spectral")
def show(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="Models (or layers, stacked); see: cotan list model")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture: plan.svg, or filters.png in the run's folder.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="A mesh or graph file; by default a small sphere, or the run's first shape.")
    ] = None,
    task: Annotated[str, typer.Option(help="classify, label, ...")] = "classify",
    filters: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Draw the filters of this trained run: spectral, or gaussian.")
    ] = None,
    vertex: Annotated[int, typer.Option(help="Where the filters are centred.")] = 0,
    option: Options = None,
) -> None:
    """Draw what models need and share, and what it costs. With --filters, draw the filters that a run has learned."""
    from .files import read

    shape = read(data) if data else None
    if filters is None:
        from .show import show as draw
        from .training.make import check_model

        out = out or Path("plan.svg")
        if out.suffix != ".svg":
            raise CotanError(f"--out {out}: a plan is drawn as .svg")
        options = _options(option)
        for model in models or []:
            check_model(model, options)
        say(draw(models or [], str(out), shape, task=task, options=options))
        say(f"\npicture: {out}")
        return
    if models or option:
        raise CotanError("--filters RUN draws what the run holds: no MODEL and no option with it")
    from .filters import draw_filters
    from .training import Run

    run = Run.load(filters)
    out = out or filters / "filters.png"
    draw_filters(run.model, _first_shape(run) if shape is None else shape, vertex=vertex, file=out)
    say(f"picture: {out}")


def _first_shape(run: Any) -> Any:
    """The first training shape of the dataset that a run was trained on."""
    from . import registry
    from .datasets import load_dataset

    name = run.dataset.get("name")
    if not registry.has("dataset", str(name)):
        raise CotanError(f"the run was trained on {name or 'own data'}: give a shape by --data FILE")
    return load_dataset(name, split="train", **run.dataset["options"])[0]


@app.command(epilog="Example: cotan compute bunny.off spectrum -o k=64 --out spectrum.npz")
def compute(
    file: Annotated[Path, typer.Argument(help="A mesh or graph file.")],
    node: Annotated[str, typer.Argument(help="A node; see: cotan list operator")],
    option: Options = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the numbers here (.npz), a record (.json), or the shape in their colours (.png .ply .off .obj .glb). "
            "Of views, voxels and the torus a .png is the picture.",
        ),
    ] = None,
    double: Annotated[bool, typer.Option(help="Give float64, as computed.")] = False,
) -> None:
    """Compute a node on a shape, and print what came out."""
    import torch

    from . import output
    from .data import sources_of
    from .evaluation import Evaluation, counts
    from .files import COLORED, read
    from .nodes import node as make_node
    from .plan import make_plan
    from .show import shape_of

    if out and out.suffix not in (".npz", ".json", ".png", *COLORED):
        raise output.another_ending(out)
    data = read(file)
    if node in data:
        raise CotanError(f"{node!r} is in the file itself; nodes to compute: cotan list operator")
    plan = make_plan({node: make_node(node, **_options(option))}, sources_of(data))
    step, evaluation = plan.roots[node], Evaluation(data, wider=plan.wider)
    value = evaluation.value(step, torch.float64 if double else torch.float32)
    count = counts().get(node)
    how = "from the store" if count and count.hits else f"computed in {count.seconds:.3g} s" if count else "computed"
    say(f"{node}: {shape_of(value)} ({how})")
    output.print_value(value)
    if out:
        if out.suffix in (".npz", ".json"):
            output.write_numbers(value, out)
        else:
            output.write_picture(evaluation, step, value, out)
        say(f"written: {out}")


@app.command(epilog="Example: cotan fit --model spectral --dataset poses --epochs 30 --seed 0 --out runs/spectral")
def fit(
    model: Annotated[str, typer.Option(help="A model or a layer; see: cotan list model")],
    dataset: Annotated[str, typer.Option(help="A dataset; see: cotan list dataset")],
    out: Annotated[Path, typer.Option(help="The run's folder: metrics.jsonl, run.json, last.*, best.*")],
    root: Annotated[Path | None, typer.Option(help="The folder of a dataset that is read from files.")] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE", help="What the model sees at each vertex: a node; repeat to join several."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="classify, label, ...; the dataset's own by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's last epoch.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file; the options below replace its values.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training shapes; 50 by default.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Shapes a step, 16 by default; vertices with --sample, 1024 by default.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate; 0.001 by default.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of the optimizer; 0.0 by default.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd; adam by default.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Of sgd; 0.9 by default.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Of --lr: none, cosine or step; none by default.")] = None,
    step_size: Annotated[
        int | None, typer.Option(help="Epochs between the steps of schedule step; 20 by default.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="What schedule step multiplies --lr by; 0.5 by default.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="For weights, order and all else that is drawn; 0 by default.")
    ] = None,
    val_share: Annotated[
        float | None, typer.Option(help="Share of train that is cut as val where there is none; 0.2 by default.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="32, or bf16 (mixed); 32 by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda; auto by default.")] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of a target spread over all classes; 0.0 by default.")
    ] = None,
    class_balance: Annotated[bool | None, typer.Option(help="Weigh classes by the inverse of their share.")] = None,
    sample: Annotated[
        str | None,
        typer.Option(help="Train on so many drawn neighbours at each hop: 15,10. Then --batch-size counts vertices."),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE", help="Change training shapes anew each epoch: random_rotation, random_scale, random_jitter."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better val; 0, never, by default.")
    ] = None,
    option: Options = None,
    dataset_option: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset-option", "-d", metavar="NAME=VALUE", help="An option of the dataset (see: cotan list NAME)."
        ),
    ] = None,
) -> None:
    """Train a model on a dataset. Validation chooses the epoch, the test set is used once."""
    given = {name: value for name, value in locals().items() if value not in (None, [])}
    from .datasets import load_dataset
    from .training import Recipe, model_for
    from .training import fit as train
    from .training.loop import checked_fabric
    from .training.progress import Progress
    from .training.run import lines_of

    if sample is not None:
        given["sample"] = [int(size) if re.fullmatch(r"\s*-?[0-9]+\s*", size) else size for size in sample.split(",")]
    chosen = Recipe.of(recipe, **{name: given[name] for name in Recipe.__dataclass_fields__ if name in given})
    own = _options(option)
    checked_fabric(model, chosen, own)
    options = _options(dataset_option) | ({"root": str(root)} if root else {})
    with Progress() as show:
        splits = load_dataset(dataset, progress=show.counter(f"make {dataset}"), **options)
    say(splits)
    for path, reason in splits.skipped:
        say(f"skipped {path}: {reason}", file=sys.stderr)
    network = model_for(model, splits, task=task, features=features or None, seed=chosen.seed, **own)
    run = train(network, splits, chosen, out=out, resume=resume)
    for line in lines_of(run.metrics):
        say("  ".join(line))
    say(f"run: {out}")
    if run.status == "stopped":
        sys.exit(STOPPED)


@app.command(epilog="Example: cotan bench demo --out runs/demo")
def bench(
    suite: Annotated[
        str,
        typer.Argument(help="A TOML file of models, datasets, seeds and a recipe; or one of ours: cotan list suite."),
    ],
    out: Annotated[Path | None, typer.Option(help="The folder of results and report; runs/NAME by default.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this model; may be given again.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(metavar="N", help="Only this seed; may be given again.")] = None,
) -> None:
    """Train what is missing of a suite. Then print its table, and write a report with table.csv and table.tex."""
    from .benchmark import bench as run
    from .report import write_report

    table = run(suite, out=out, models=model or (), seeds=seed or ())
    table.show()
    say(f"report: {write_report(table)}")
    if table.stopped:
        sys.exit(STOPPED)
    done = {(dataset, model) for dataset, model, _ in table.done()}
    if any(seed is not None or (dataset, model) not in done for dataset, model, seed, _ in table.failures):
        sys.exit(1)  # a stress variant that a model cannot take is an empty cell, not a failure of the suite


@app.command(epilog="Example: cotan predict runs/spectral mesh.off")
def predict(
    run: Annotated[Path, typer.Argument(help="A run's folder, as fit leaves it.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Meshes, points or graphs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="One answer a shape: a .csv. Labels or numbers of vertices: a coloured mesh, or a .txt with a line a vertex; "
            "by default FILE.labels.ply in this folder (.txt for several numbers each). With several files these go to a folder."
        ),
    ] = None,
) -> None:
    """Predict with a trained model. A class and its probability are printed; labels or numbers of vertices are a coloured PLY."""
    from .batching import per_of
    from .training import Run

    trained, skipped = Run.load(run), list[Path]()
    if per_of(trained.model) == "shape":
        _answers_of_shapes(_asked(trained, files, skipped, weld=True), out)
    else:  # labels are of the vertices of the file
        _answers_at_vertices(_asked(trained, files, skipped, weld=False), files, out)
    if skipped:
        say(f"{len(skipped)} of {len(files)} files skipped, the first {skipped[0]}", file=sys.stderr)
        sys.exit(1)


def _asked(run: Any, files: list[Path], skipped: list[Path], weld: bool) -> Iterator[tuple[Path, Any, Any]]:
    """Each file with its shape and the answer. Of several, one that has none does not end the work: it is said, and skipped."""
    from .files import read
    from .training import predict as ask

    for file in files:
        try:
            data = read(file, weld=weld)
            found = ask(run, data)
        except CotanError as reason:
            if len(files) == 1:
                raise
            say(f"skipped {file}: {reason}", file=sys.stderr)
            skipped.append(file)
        else:
            yield file, data, found


def _answers_of_shapes(asked: Iterable[tuple[Path, Any, Any]], out: Path | None) -> None:
    """One answer a shape: printed, and a row of a .csv."""
    from . import atomic
    from .export import csv_text

    if out is not None and (out.suffix.lower() != ".csv" or out.is_dir()):
        raise CotanError(f"--out {out}: this model gives one answer a shape, which is printed and can go to a .csv")
    rows: list[list[Any]] = []
    for file, _, found in asked:
        if found.probabilities is None:
            values = found.label.reshape(-1).tolist()
            head, named, said = [*range(len(values))], [], ", ".join(f"{number:.6g}" for number in values)
        else:
            values = found.probabilities.tolist()
            head, named, said = ["class", *found.classes], [found.name], f"{found.name}  {found.probability:.1%}"
        say(f"{file}: {said}")
        rows = rows or [["file", *head]]
        rows.append([file, *named, *(f"{value:.6g}" for value in values)])
    if out is not None and rows:
        atomic.save(out, csv_text(rows).encode())
        say(f"table: {out}")


def _answers_at_vertices(asked: Iterable[tuple[Path, Any, Any]], files: list[Path], out: Path | None) -> None:
    """A label or numbers a vertex: a coloured mesh, or a line each of a .txt."""
    from . import atomic
    from .files import write

    if out is not None and out.suffix.lower() == ".csv" and not out.is_dir():
        raise CotanError(f"--out {out}: answers at vertices go to a .txt or a coloured mesh")
    if len({file.stem.lower() for file in files}) < len(files):
        raise CotanError("two of the files have one name (but for case, at most), and so would their labels")
    if out is not None and len(files) > 1:
        out.mkdir(parents=True, exist_ok=True)
    for file, data, found in asked:
        if found.probabilities is None:
            what, each = "numbers", found.label.reshape(len(found.label), -1).tolist()
            lines = [" ".join(f"{number:.6g}" for number in row) for row in each]
            said = f"{found.label.min():.6g} to {found.label.max():.6g}"
        else:
            what, lines = "labels", [found.classes[label] for label in found.label.tolist()]
            count = found.label.bincount(minlength=len(found.classes)).tolist()
            said = ", ".join(f"{name} at {n} vertices" for name, n in zip(found.classes, count) if n)
        default = Path(f"{file.stem}.labels.{'ply' if found.label.ndim == 1 else 'txt'}")
        target = default if out is None else out / default if out.is_dir() else out
        if found.label.ndim == 2 and target.suffix != ".txt":
            raise CotanError(f"--out {out}: several numbers a vertex go to a .txt")
        if target.suffix == ".txt":
            atomic.save(target, "".join(f"{line}\n" for line in lines).encode())
        else:
            write(data, target, colors=found.label)
        say(f"{file}: {said}")
        say(f"  {what}: {target}")


@app.command(epilog="Example: cotan inspect bunny.off --out bunny.png")
def inspect(
    file: Annotated[Path, typer.Argument(help="A mesh or graph file.")],
    out: Annotated[Path | None, typer.Option(help="The picture; FILE.png in this folder by default.")] = None,
    views: Annotated[
        bool, typer.Option("--views", help="Draw the twelve views of a multi-view network instead.")
    ] = False,
    up: Annotated[
        str | None, typer.Option(help="The axis that points up in the picture; y by default, z of the twelve views.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="How many eigenvalues to print.")] = 10,
    repair: Annotated[bool, typer.Option("--repair", help="Mend the mesh first, and say what was done.")] = False,
) -> None:
    """Report what is right and wrong with a mesh. Also draw it, or points, with its first eigenfunctions."""
    import torch

    from .evaluation import compute as evaluate
    from .files import read
    from .inspect import picture, report, shaded_views, text

    if out and out.suffix != ".png":
        raise CotanError(f"--out {out}: expected a file ending in .png")
    one_of("axis", up or "y", "xyz")
    with warnings.catch_warnings():
        if not repair:
            warnings.simplefilter("ignore", MeshWarning)  # the report says it
        data = read(file, repair=repair, dtype=torch.float64)
    drawn = "face" if views else "pos"
    if (views or out) and data.get(drawn) is None:
        raise CotanError(f"{file} has no {drawn} to draw; its report needs neither --views nor --out")
    say(text(report(data)))
    values = evaluate(data, "spectrum", k=k, dtype=torch.float64).values
    say("eigenvalues: " + ", ".join(f"{float(v):.4g}" for v in values))
    if data.get(drawn) is not None:
        target = out or Path(f"{file.stem}.png")
        if views:
            shaded_views(data, target, up=up or "z")
        else:
            picture(data, target, up=up or "y")
        say(f"picture: {target}")


@app.command(epilog="Example: cotan cache --prune --node spectrum")
def cache(
    prune: Annotated[bool, typer.Option("--prune", help="Remove entries: all, or as --node and --keep say.")] = False,
    node: Annotated[str | None, typer.Option(help="Only this node's.")] = None,
    keep: Annotated[float, typer.Option(help="Gigabytes of the most recently used to keep.")] = 0.0,
) -> None:
    """Show what the store holds, by node; prune it."""
    from .store import store

    kept = store()
    if not prune and (node or keep):
        raise CotanError("--node and --keep say what --prune removes; without it, nothing is")
    if not 0 <= keep < math.inf:
        raise CotanError(f"--keep {keep:g}: expected gigabytes, zero or more")
    if node:
        one_of("node in the store", node, kept.summary())
    if prune:
        count, size = kept.prune(int(keep * 2**30), node)
        say(f"removed {count} files, {_size(size)}")
    gone = prune and not node
    for old in kept.older():
        size = sum(stat.st_size for _, stat in old.entries())
        if gone:
            old.prune(0)
        if size:
            now = ", removed" if gone else "; --prune removes it"
            say(f"{old.folder}: {_size(size)} of an older format{now}")
    rows = kept.summary()
    left = sum(size for name, (_, size) in rows.items() if node in (None, name))
    if prune and left > keep * 2**30:
        raise CotanError(
            f"{kept.folder} holds {_size(left)} that were to go: another process writes there, or they cannot be removed"
        )
    total = sum(size for _, size in rows.values())
    say(f"{kept.folder}: {_size(total)} of at most {_size(kept.limit)}")
    width = max(map(len, rows), default=0)
    for name, (count, size) in rows.items():
        say(f"  {name:<{width}}  {count:>7} entries  {_size(size):>10}")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


@app.command(epilog="Example: cotan doctor")
def doctor() -> None:
    """Say what works here. That is versions, device, store, plugins, and which of them failed to import and why."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from . import __version__, registry
    from .kernels import HAS_TRITON, triton_runs
    from .store import store

    say(f"cotan {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in (
        "torch",
        "torch-geometric",
        "numpy",
        "scipy",
        "trimesh",
        "robust-laplacian",
        "potpourri3d",
        "cholespy",
        "safetensors",
        "triton",
    ):
        try:
            say(f"  {name} {version(name)}")
        except PackageNotFoundError:
            say(f"  {name} is not installed")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; everything runs on the CPU"
    say(f"CUDA device: {device}")
    kernels = "Triton's" if HAS_TRITON else "torch's, for want of triton"
    if HAS_TRITON and torch.cuda.is_available() and triton_runs() is None:
        kernels = "torch's"  # why, the warning says
    say(f"sparse kernels on CUDA: {kernels}")
    kept = store()
    say(f"store: {kept.folder}, at most {_size(kept.limit)}")
    failures = registry.failures()
    say("plugins:")
    for name, origin in registry.plugins().items():
        say(f"  {name} ({origin}): " + (f"FAILED to import: {failures[name]}" if name in failures else "ok"))
    counted = ", ".join(f"{len(registry.names(kind))} {kind}s" for kind in registry.KINDS)
    say(f"registered: {counted}")
    if failures:
        sys.exit(1)


def _options(pairs: list[str] | None) -> dict[str, Any]:
    """`k=64` and `kind=robust` as Python values: numbers, true and false, lists in brackets, else text."""
    import json

    out: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise CotanError(f"option {pair!r}: expected NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = {"True": True, "False": False, "None": None}.get(text, text)  # as Python writes them
        out[name.replace("-", "_")] = value
    return out
