"""Makes the pictures of docs/gallery.md: `make gallery`. A few minutes.

All are of generated creatures but those of the belief network, made where `COTAN_DATA` holds modelnet10_micro.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import shape_from_spectrum
import torch
from torch_geometric.utils import from_trimesh
from trimesh.voxel import VoxelGrid

import cotan
from cotan.colors import diverging, label_colors
from cotan.drawing import shapes_png
from cotan.inspect import picture
from cotan_datasets.creatures import CLASSES
from cotan_datasets.poses import creature
from cotan_surface.torus import chart_figure
from cotan_views import contact_sheet as views_sheet
from cotan_voxels import pretrain, primitives, slices, solids

OUT = Path(__file__).parent / "images"


def families() -> None:
    """A dog as each family of methods sees it; at the head of README."""
    dog = creature("dog", 0, vertices=2000)
    nose = [int(dog.pos[:, 2].argmax())]
    wave = cotan.compute(dog, "spectrum", k=16).vectors[:, 15]
    rings = (cotan.compute(dog, "geodesic_distance", source=nose) / 0.12).long() % 2
    normals = (cotan.compute(dog, "vertex_normals") + 1) / 2
    turned = type(dog)(pos=dog.pos[:, [2, 1, 0]] * torch.tensor([1, 1, -1]), face=dog.face)
    boxes = VoxelGrid(cotan.compute(dog, "voxels", resolution=32).numpy() > 0).as_boxes()

    color = dog.pos - dog.pos.amin(0)
    color /= color.amax(0)
    size = 128
    u, v = 2 * torch.pi * torch.cartesian_prod(*[torch.arange(size) / size] * 2).T
    ring = torch.stack([(2 + v.cos()) * u.cos(), v.sin(), (2 + v.cos()) * u.sin()], 1)
    corner = torch.arange(size**2).view(size, size)
    a, b, c, d = (corner.roll(shift, (0, 1)).flatten() for shift in ((0, 0), (-1, 0), (0, -1), (-1, -1)))
    torus = type(dog)(pos=ring, face=torch.cat([torch.stack([a, c, b]), torch.stack([b, c, d])], 1))
    image = cotan.compute(dog, "torus", resolution=size).pull @ color

    shapes = {
        "a mesh": _colored(dog, color),
        "spectral": _colored(dog, diverging(wave)),
        "spatial": _colored(dog, label_colors(rings)),
        "views": _colored(turned, normals),
        "voxels": from_trimesh(boxes),
        "torus": _colored(torus, image[: size**2]),
    }
    (OUT / "families.png").write_bytes(shapes_png([list(shapes.values())], list(shapes)))


def poses() -> None:
    rows = [[creature(name, i, pose=i, mesh=i, vertices=600) for name in CLASSES] for i in range(5)]
    (OUT / "poses.png").write_bytes(shapes_png(rows, CLASSES))


def inspect() -> None:
    picture(creature("giraffe", 0, vertices=2000), OUT / "inspect.png")


def views() -> None:
    outputs = ("shaded", "depth", "normals")
    seen = cotan.compute(creature("giraffe", 0, vertices=2000), "views", size=160, outputs=outputs, samples=2, up="y")
    views_sheet(seen, OUT / "views.png", outputs=outputs)


def voxels() -> None:
    names = ("dog", "octopus", "bird")
    grids = [cotan.compute(creature(name, 0, vertices=1000), "voxels", resolution=48) for name in names]
    slices(grids, names, up="y").savefig(OUT / "voxels.png", dpi=70)


def belief() -> None:
    """What a belief network of furniture looks for in each layer, and what it dreams of each class."""
    if not os.environ.get("COTAN_DATA"):
        print("  skipped: COTAN_DATA is not set")
        return
    data = cotan.load_dataset("folder", root=Path(os.environ["COTAN_DATA"]) / "modelnet10_micro")
    model = cotan.model_for("voxel-dbn", data, resolution=24, widths=(32, 96), hidden=400, top=1000, turn=0.0, seed=0)
    seen = torch.cat([cotan.inputs(model, shape)["voxels"] for shape in data.train])
    label = torch.tensor([int(shape.y) for shape in data.train])
    pretrain(model, seen, label, epochs=20, together=100, top=250, say=print)
    primitives(model, seen).savefig(OUT / "primitives.png", dpi=70)
    dreams = model.sample(torch.arange(len(data.classes)).repeat_interleave(8), steps=100)
    solids(dreams.split(8), data.classes).savefig(OUT / "dreams.png", dpi=50)
    print(nearest(dreams, seen, label))
    truth = torch.stack(
        [cotan.inputs(model, next(s for s in data.test if int(s.y) == k))["voxels"][0] for k in range(10)]
    )
    known = torch.zeros_like(truth, dtype=torch.bool)
    known[:, :12] = True
    whole = model.sample(torch.arange(10), steps=50, given=truth, known=known)
    solids([truth * known, whole, truth], ("seen", "completed", "truth")).savefig(OUT / "completed.png", dpi=70)


def nearest(dreams: torch.Tensor, seen: torch.Tensor, label: torch.Tensor) -> str:
    """Are the dreams copies of training shapes, and of their class?"""
    a, b = (dreams > 0.5).flatten(1).float(), (seen > 0.5).flatten(1).float()
    both = a @ b.T
    overlap, shape = (both / (a.sum(1)[:, None] + b.sum(1) - both)).max(1)
    right = (label[shape] == torch.arange(len(a)) // 8).float().mean()
    return (
        f"  intersection over union of a dream with the training shape nearest to it: mean {overlap.mean():.2f}, "
        f"greatest {overlap.max():.2f}; that is of its class in {right:.0%}; {len(set(shape.tolist()))} different ones"
    )


def torus() -> None:
    shape = creature("dog", 0, vertices=1500)
    chart_figure(shape.pos, shape.face, maps=2, up="y").savefig(OUT / "torus.png", dpi=60)


def filters() -> None:
    """The multipliers that smooth-spectral learns for parts, and one filter about a vertex."""
    data = cotan.load_dataset("poses", task="label", per_class=5, stress=[], vertices=500)
    model = cotan.model_for("smooth-spectral", data, k=64, width=16, depth=2, seed=0)
    run = cotan.fit(model, data, epochs=40, batch_size=4, lr=5e-3, schedule="cosine")
    shape = creature("dog", 0, vertices=1500)
    middle = int((shape.pos - shape.pos.mean(0)).norm(dim=1).argmin())
    cotan.draw_filters(run.model, shape, vertex=middle, file=OUT / "filters.png")


def match() -> None:
    """Colours of the template carried over by the maps that diffusion learns, beside the truth; and how far they are off."""
    data = cotan.load_dataset("poses", task="match", creatures=["dog"], per_class=50, vertices=250, stress=["poses"])
    model = cotan.model_for("diffusion", data, k=64, width=64, depth=3, seed=0)
    run = cotan.fit(model, data, epochs=40, batch_size=4, lr=1e-2, schedule="cosine")
    seen = [*data.test[:3], *data.stress["poses"][:3]]
    found = [prediction.label for prediction in cotan.predict(run, seen)]
    colors = data.template.body - data.template.body.amin(0)
    colors /= colors.amax(0)
    carried = [[_colored(shape, colors[y]) for shape, y in zip(seen, ys)] for ys in ([s.y for s in seen], found)]
    template = _colored(data.template, colors)
    names = ["template", *["test"] * 3, *["bent further"] * 3]
    drawn = shapes_png([[template, *row] for row in carried], names, labels=("truth", "found"))
    (OUT / "match.png").write_bytes(drawn)

    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    radius = torch.linspace(0, 0.25, 101)
    for name in ("test", "poses"):
        shapes = data.split(name)
        labels = torch.cat([prediction.label for prediction in cotan.predict(run, shapes)])
        error = cotan.geodesic_error(labels, torch.cat([s.y for s in shapes]), data.distances)
        axes.plot(radius, cotan.share_within(error, radius), label="test" if name == "test" else "bent further")
    axes.set(xlabel="geodesic error, in diameters", ylabel="share of vertices within", xlim=(0, 0.25), ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(OUT / "match_curve.png", dpi=80)


def edges() -> None:
    """A pattern, where it changes, and where two networks find that it does, on the shape they saw and on what became of it."""
    data = cotan.load_dataset("edges")
    seen = {"fitted on": data.test, **{name: data.stress[name] for name in ("new pose", "new triangles", "new both")}}
    shapes = [each[0] for each in seen.values()]
    rows = {"x": [diverging(s.x[:, 0]) for s in shapes], "truth": [label_colors(s.y) for s in shapes]}
    for name in ("spectral", "smooth-spectral"):
        model = cotan.model_for(name, data, k=64, width=32, depth=2, residual=False, seed=0)  # as in the suite `demo`
        run = cotan.fit(model, data, epochs=60, batch_size=4, lr=5e-3, schedule="cosine")
        found = [prediction.label for prediction in cotan.predict(run, shapes)]
        rows[name] = [label_colors(labels) for labels in found]
        print(name, [f"{(labels == s.y).float().mean():.0%}" for labels, s in zip(found, shapes, strict=True)])
    colored = [[_colored(*pair) for pair in zip(shapes, row, strict=True)] for row in rows.values()]
    (OUT / "edges.png").write_bytes(shapes_png(colored, list(seen), labels=list(rows)))


def _colored(shape, color):
    return type(shape)(pos=shape.pos, face=shape.face, color=color)


if __name__ == "__main__":
    for draw in (
        families,
        poses,
        inspect,
        views,
        voxels,
        belief,
        torus,
        shape_from_spectrum.main,
        filters,
        edges,
        match,
    ):
        print(draw.__name__)
        draw()
