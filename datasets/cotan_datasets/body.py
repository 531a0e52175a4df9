"""A body: a tree of bones, the smooth skin around them, and how both bend.

The skin is the zero set of a smooth minimum of the bones' distances, and its derivatives serve as skinning weights:

    f(p) = -k log sum_b exp(-d_b(p) / k),      w_b = df/dd_b = exp((f - d_b) / k),      sum_b w_b = 1

A joint j acts on a point with its fraction a_j = sum of w_b over the bones below j, from the tips to the root:

    p <- c_j + s_j^a_j  R(a_j omega_j) (p - c_j)

A fraction of a rotation is a rotation, so bends keep their girth (a linear blend of rotations would pinch them).
The map starts from the rest pose, where limbs are apart: limbs that meet later never fuse, and the point of the
rest pose that a vertex came from is its canonical coordinate, without any error of inversion.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PARTS = ("torso", "head", "neck", "arm", "leg", "tail", "wing", "fin")
BLEND = 0.015  # k


class Limb(NamedTuple):
    """A chain of bones through `points`, with the radius `radii` at each; y is up, z ahead, x to the left.

    `turn` and `fold` hold, for each bone, the largest angles (bend, sway, twist) at its joint: bend about the level
    axis across the bone, sway about the axis across both, twist about the bone. `turn` goes both ways, `fold` one way
    (a knee). `on` names the bone that carries the limb ("spine1": the second bone of the limb "spine"; "": none).
    `mirror` adds the limb of the other side. `flat` makes fins and wings: along this vector the skin is thinner by
    the vector's length.
    """

    name: str
    part: str
    on: str
    points: Sequence[tuple[float, float, float]]
    radii: Sequence[float]
    turn: Sequence[tuple[float, float, float]]
    fold: Sequence[tuple[float, float, float]] = ()
    mirror: bool = False
    flat: tuple[float, float, float] | None = None


class Body:
    """The bones of some limbs as arrays, B bones with parents before children.

    start, end (B, 3); radius (B, 2); parent, part, twin (B,): twin is the same bone of the other side.
    turn, fold (B, 3, 3): rotation vectors in the rest pose, one a row, for bend, sway and twist.
    flat (B, 3): unit direction times sqrt(s^2 - 1) for a skin thinner by s along it, zero where round.
    """

    def __init__(self, limbs: Sequence[Limb]) -> None:
        self.names: list[str] = []
        rows: list[tuple[Limb, int, float]] = []
        parents, twins = [], []
        for limb in limbs:
            sides = ("", ".right") if limb.mirror else ("",)
            for side in sides:
                carrier = limb.on + side if limb.on + side in self.names else limb.on
                for i in range(len(limb.points) - 1):
                    parents.append(self.names.index(carrier) if carrier else -1)
                    carrier = f"{limb.name}{i}{side}"
                    twins.append(len(self.names) if not side else self.names.index(f"{limb.name}{i}"))
                    self.names.append(carrier)
                    rows.append((limb, i, -1.0 if side else 1.0))
        self.parent, self.twin = np.array(parents), np.array(twins)
        self.part = np.array([PARTS.index(limb.part) for limb, _, _ in rows])
        self.start = np.array([_mirror(limb.points[i], x) for limb, i, x in rows])
        self.end = np.array([_mirror(limb.points[i + 1], x) for limb, i, x in rows])
        self.radius = np.array([limb.radii[i : i + 2] for limb, i, _ in rows])
        self.turn = np.stack([_angles(limb, limb.turn, i, x) for limb, i, x in rows])
        self.fold = np.stack([_angles(limb, limb.fold, i, x) for limb, i, x in rows])
        self.axis = self.end - self.start
        self.length2 = (self.axis**2).sum(1)
        self.flat = np.stack([_flat(limb, a, x) for (limb, _, x), a in zip(rows, self.axis, strict=True)])
        self.thinnest = float((self.radius.min(1) / np.sqrt(1 + (self.flat**2).sum(1))).min())
        self.below = np.eye(len(rows), dtype=bool)  # (B, B): below[j, b], bone b moves with joint j
        for b in range(len(rows) - 1, 0, -1):
            self.below[self.parent[b]] |= self.below[b]

    def distances(self, p: Array) -> tuple[Array, Array, Array, Array]:
        """d (N, B) from points to each bone's tapered capsule; with the offset's length, t along the bone, flatness."""
        along = p @ self.axis.T - (self.start * self.axis).sum(1)
        square = np.einsum("ij,ij->i", p, p)[:, None] - 2 * (p @ self.start.T) + (self.start**2).sum(1)
        across = p @ self.flat.T - (self.start * self.flat).sum(1)
        return *_capsule(along, square, across, self.length2, self.radius.T), across

    def bounds(self, rotation: Array) -> tuple[Array, Array]:
        """Corners (3,) of a box around the skin, in the axes given by the rotation's rows."""
        ends = np.concatenate([self.start, self.end]) @ rotation.T
        r = self.radius.T.reshape(-1, 1) + 4 * BLEND
        return (ends - r).min(0), (ends + r).max(0)

    def grid(self, rotation: Array, low: Array, step: float, shape: tuple[int, int, int]) -> Array:
        """f on a grid along the rotation's rows. A bone counts only in its own box: beyond, exp(-d / k) is nothing."""
        total = np.full(shape, np.exp(-20.0))
        ticks = [step * np.arange(n) for n in shape]
        start, axis, flat = self.start @ rotation.T - low, self.axis @ rotation.T, self.flat @ rotation.T
        for b, (at, to) in enumerate(zip(start, start + axis, strict=True)):
            reach = self.radius[b].max() + 7 * BLEND
            first = np.maximum(np.floor((np.minimum(at, to) - reach) / step), 0).astype(int)
            last = np.ceil((np.maximum(at, to) + reach) / step).astype(int)
            box = tuple(slice(i, j) for i, j in zip(first, last, strict=True))
            x, y, z = np.ix_(*(tick[some] - o for tick, some, o in zip(ticks, box, at, strict=True)))
            along, across = (x * v[0] + y * v[1] + z * v[2] for v in (axis[b], flat[b]))
            d, _, _ = _capsule(along, x**2 + y**2 + z**2, across, self.length2[b], self.radius[b])
            total[box] += np.exp(-d / BLEND)
        return -BLEND * np.log(total)

    def weights(self, p: Array) -> Array:
        """Skinning weights w (N, B)."""
        return self._soft(self.distances(p)[0])[1]

    def _soft(self, d: Array) -> tuple[Array, Array]:
        least = d.min(1, keepdims=True)
        w = np.exp((least - d) / BLEND)
        total = w.sum(1, keepdims=True)
        w /= total
        return (least - BLEND * np.log(total))[:, 0], w

    def gradient(self, p: Array) -> tuple[Array, Array]:
        """f (N,) and its gradient (N, 3)."""
        d, offset, t, across = self.distances(p)
        f, w = self._soft(d)
        taper = w * ((t > 0) & (t < 1)) * (self.radius[:, 1] - self.radius[:, 0]) / self.length2
        w = w / offset
        grad = p * w.sum(1, keepdims=True) - w @ self.start - (w * t) @ self.axis + (w * across) @ self.flat
        return f, grad - taper @ self.axis

    def project(self, p: Array, steps: int = 1) -> tuple[Array, Array]:
        """Newton steps towards the skin: points (N, 3) and unit outward normals (N, 3)."""
        for _ in range(steps):
            f, g = self.gradient(p)
            step = f[:, None] * g / np.maximum(_length(g) ** 2, 0.1)
            short = np.minimum(1, 0.03 / np.maximum(_length(step), 1e-9))  # f is no distance where flat or blended
            p = p - short * step
        g = self.gradient(p)[1]
        return p, g / np.maximum(_length(g), 1e-9)

    def bend(self, p: Array, w: Array, angles: Array, scale: Array) -> Array:
        """Points (N, 3) with weights w (N, B) under joint rotation vectors `angles` (B, 3) and sizes `scale` (B,)."""
        p = p.copy()
        for j in range(len(angles) - 1, -1, -1):
            a = w[:, self.below[j]].sum(1)
            moved = a > 1e-9
            theta = np.sqrt((angles[j] ** 2).sum())
            axis = angles[j] / max(theta, 1e-12)
            q, a = p[moved] - self.start[j], a[moved, None]
            c, s = np.cos(a * theta), np.sin(a * theta)
            turned = c * q + s * np.cross(axis, q) + (1 - c) * (q @ axis)[:, None] * axis
            p[moved] = self.start[j] + scale[j] ** a * turned
        return p

    def touching(self, angles: Array, scale: Array) -> NDArray[np.bool_]:
        """The bones (B,) that touch in the pose what they are apart from at rest, tested on spheres along the bones."""
        t = np.linspace(0, 1, 5)
        p = (self.start[:, None] + t[:, None] * self.axis[:, None]).reshape(-1, 3)
        bone = np.repeat(np.arange(len(self.parent)), len(t))
        r = (self.radius[:, :1] + t * (self.radius[:, 1:] - self.radius[:, :1])).ravel()
        r = r / np.sqrt(1 + (self.flat**2).sum(1))[bone]

        def gaps(q: Array) -> Array:
            square = (q**2).sum(1)
            return np.sqrt(np.maximum(square[:, None] + square - 2 * q @ q.T, 0)) - r[:, None] - r

        at_rest, posed = (self.bend(p, np.eye(len(self.parent))[bone], a, scale) for a in (0 * angles, angles))
        touch = (gaps(posed) < 0.01) & (gaps(at_rest) > 0.05)
        return touch.reshape(len(self.parent), -1).any(1)


def _capsule(along: Array, square: Array, across: Array, length2: Array, radius: Array) -> tuple[Array, Array, Array]:
    """d, length of the offset from the bone and t, from (p - start) . axis, |p - start|^2 and the flat offset."""
    t = np.clip(along / length2, 0, 1)
    offset = np.sqrt(np.maximum(square + t * (t * length2 - 2 * along) + across**2, 1e-12))
    return offset - radius[0] - t * (radius[1] - radius[0]), offset, t


def _length(v: Array) -> Array:
    """(N, 1)."""
    return np.sqrt(np.einsum("ij,ij->i", v, v))[:, None]


def _mirror(v: Sequence[float], x: float) -> Array:
    return np.array([x * v[0], v[1], v[2]])


def _flat(limb: Limb, axis: Array, x: float) -> Array:
    if limb.flat is None:
        return np.zeros(3)
    n = _mirror(limb.flat, x)
    thinner = np.sqrt((n**2).sum())
    n = n - axis * (n @ axis) / (axis @ axis)
    return n / np.sqrt((n**2).sum()) * np.sqrt(thinner**2 - 1)


def _angles(limb: Limb, limits: Sequence[tuple[float, float, float]], i: int, x: float) -> Array:
    """(3, 3) rotation vectors for bend, sway and twist of bone i; a mirror turns an axial vector's other two signs."""
    if not limits:
        return np.zeros((3, 3))
    e = np.subtract(limb.points[i + 1], limb.points[i])
    e = e / np.sqrt((e**2).sum())
    level = np.array([1.0, 0, 0]) if abs(e[1]) > 0.75 else np.cross([0.0, 1, 0], e)
    level = level - e * (level @ e)
    level = level / np.sqrt((level**2).sum())
    frame = np.stack([level, np.cross(e, level), e])
    return frame * np.array(limits[i])[:, None] * np.array([1, x, x])
