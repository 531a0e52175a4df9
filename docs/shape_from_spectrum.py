"""Bends a sphere until its first eigenvalues are those of another shape, through the derivatives of `spectrum`.

python docs/shape_from_spectrum.py      # docs/images/shape_from_spectrum.png; half a minute
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import cotan
from cotan.show import sphere


class Fitted(NamedTuple):
    """shape: the bent sphere. errors: of each step, the mean of |lambda_i / target_i - 1|."""

    shape: object
    errors: list[float]


def eigenvalues(shape, k: int = 20) -> Tensor:
    """The k smallest that are not zero."""
    return cotan.compute(shape, "spectrum", k=k + 1, dtype=torch.float64).values[1:]


def fit(target: Tensor, *, steps: int = 300, rate: float = 0.01, smooth: int = 60) -> Fitted:
    """min_c sum_i (lambda_i(x_0 + Phi c) / target_i - 1)^2, by Adam over c.

    Phi are the sphere's first `smooth` eigenfunctions, so that it bends smoothly. The eigenvalues become the target's;
    the shape does not, since 20 eigenvalues do not determine it.
    """
    shape = sphere()
    start = eigenvalues(shape, len(target))
    shape.pos = shape.pos.double() * float((start / target).mean()) ** 0.5
    rest = shape.pos
    Phi = cotan.compute(shape, "spectrum", k=smooth, dtype=torch.float64).vectors
    Phi = Phi / Phi.abs().amax(0)
    c = torch.zeros(smooth, 3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.Adam([c], lr=rate * float(rest.norm(dim=1).mean()))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps)
    errors = []
    for _ in range(steps):
        shape.pos = rest + Phi @ c
        off = eigenvalues(shape, len(target)) / target - 1
        errors.append(float(off.detach().abs().mean()))
        descent.zero_grad()
        off.square().sum().backward()
        descent.step()
        schedule.step()
    shape.pos = shape.pos.detach()
    return Fitted(shape, errors)


def picture(target, fitted: Fitted, path: Path) -> None:
    """Target, sphere and fitted shape, shaded; the eigenvalues of each."""
    import matplotlib.figure

    round_shape = sphere()
    values = [eigenvalues(s) for s in (target, fitted.shape)]
    figure = matplotlib.figure.Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    look = {"rig": ((0.9, 0.45, 1.9),), "up": "y", "size": 320, "samples": 2, "outputs": ("shaded",)}
    titles = ("target", "start", f"after {len(fitted.errors)} steps")
    for at, title, shape in zip(axes, titles, (target, round_shape, fitted.shape), strict=False):
        shaded = cotan.compute(shape, cotan.node("views", **look))[0, 0]
        at.imshow(torch.where(shaded > 0, shaded, 1.0).numpy(), cmap="gray", vmin=0, vmax=1)
        at.set_title(title, fontsize=10)
        at.set_axis_off()
    number = range(1, len(values[0]) + 1)
    axes[3].plot(number, values[0].numpy(), "k-", label="target")
    axes[3].plot(number, values[1].detach().numpy(), "o", ms=4, label="fitted")
    scale = float((eigenvalues(round_shape) / values[0]).mean())
    axes[3].plot(number, eigenvalues(round_shape).numpy() / scale, ":", label="sphere, scaled")
    axes[3].set_title("eigenvalues", fontsize=10)
    axes[3].set_xlabel("number", fontsize=9)
    axes[3].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main() -> None:
    from cotan_datasets.poses import creature

    target = creature("shark", 0, vertices=1000)
    fitted = fit(eigenvalues(target))
    print(f"mean error of 20 eigenvalues: {fitted.errors[0]:.1%} before, {fitted.errors[-1]:.2%} after")
    picture(target, fitted, Path(__file__).parent / "images" / "shape_from_spectrum.png")


if __name__ == "__main__":
    main()
