"""A closed mesh of V vertices on a smooth surface: marching cubes, then edge collapses, flips and relaxation.

Lengths are measured on (p, tau n), position and scaled normal (Levy and Bonneel 2013): around a thin limb the normal
turns fast, so the limb keeps its girth in few vertices, and its triangles are long where it is straight.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class Surface(Protocol):
    def bounds(self, rotation: Array) -> tuple[Array, Array]:
        """Lower and upper corner (3,) of a box around the surface, in the axes given by the rotation's rows."""

    def grid(self, rotation: Array, low: Array, step: float, shape: tuple[int, int, int]) -> Array:
        """f on a grid along the rotation's rows: zero on the surface, negative inside."""

    def project(self, p: Array, steps: int = 1) -> tuple[Array, Array]:
        """Points (N, 3) moved onto the surface, and the unit outward normals there."""


class MeshError(RuntimeError):
    """The triangles are no sphere; another grid may do."""


def triangulate(surface: Surface, vertices: int, rng: np.random.Generator, *, step: float) -> tuple[Array, Ints]:
    """Points (V, 3) and outward faces (F, 3) of a topological sphere, on a grid of random place and direction.

    `step` is the coarsest grid on which nothing thin is lost; the grid gets finer until there are vertices to spare.
    """
    rotation = random_rotation(rng)
    while True:
        p, faces = marching_cubes(surface, rotation, step, rng.random(3))
        if len(p) >= 1.3 * vertices:
            break
        step *= max(0.6, np.sqrt(len(p) / (1.6 * vertices)))
    check_sphere(p, faces)
    p, normal = surface.project(p, 2)
    tau = 0.8 * np.sqrt(area(p, faces) / vertices)
    while len(p) > vertices:
        before = len(p)
        p, normal, faces = _collapse(surface, p, normal, faces, tau, vertices)
        if len(p) > 0.99 * before:  # few edges may go: flips make new ones
            faces = _flip(p, normal, faces, tau)
            if len(p) == before:
                p, normal = _relax(surface, p, normal, faces)
                tau *= 0.9
                if tau < 0.01 / np.sqrt(vertices):
                    raise MeshError(f"edge collapses ended at {len(p)} vertices, {vertices} are wanted")
    for _ in range(3):
        faces = _flip(p, normal, faces, tau)
        p, normal = _relax(surface, p, normal, faces)
    faces = _flip(p, normal, faces, tau)
    p, _ = surface.project(p, 3)
    check_sphere(p, faces)
    return p, faces


def random_rotation(rng: np.random.Generator) -> Array:
    """Uniform rotation (3, 3), from a uniform unit quaternion."""
    w, x, y, z = (lambda q: q / np.sqrt(q @ q))(rng.standard_normal(4))
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def marching_cubes(surface: Surface, rotation: Array, step: float, offset: Array) -> tuple[Array, Ints]:
    """Points (N, 3) and outward faces (F, 3), on cubes of side `step` whose axes are the rotation's rows."""
    from skimage import measure

    low, high = surface.bounds(rotation)
    low = low - step * (1 + offset)
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / step) + 2)
    volume = surface.grid(rotation, low, step, (nx, ny, nz))
    p, faces, _, _ = measure.marching_cubes(volume, 0.0, gradient_direction="descent", allow_degenerate=False)
    return (p.astype(np.float64) * step + low) @ rotation, faces.astype(np.int64)


def area(p: Array, faces: Ints) -> float:
    n = _face_normals(p, faces)
    return float(np.sqrt(_dot(n, n)).sum() / 2)


def volume(p: Array, faces: Ints) -> float:
    """Signed volume, positive when faces look outward."""
    return float(_dot(p[faces[:, 0]], _face_normals(p, faces)).sum() / 6)


def sheets(faces: Ints, n: int) -> tuple[Ints, Ints]:
    """For each of n vertices: the number of fans that its faces make (1 on a manifold), and the number of its piece."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = faces.size
    tail, head = _half_edges(faces)
    after = (np.arange(count) + len(faces)) % count  # half-edge k leaves corner k and arrives at corner after[k]
    key = np.minimum(tail, head) * n + np.maximum(tail, head)
    order = np.argsort(key)
    pair = np.flatnonzero(np.diff(key[order]) == 0)
    one, two = order[pair], order[pair + 1]
    rows, columns = np.concatenate([one, after[one]]), np.concatenate([after[two], two])
    across = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    fan = connected_components(across, directed=False)[1]
    piece = connected_components(coo_matrix((np.ones(count), (tail, head)), shape=(n, n)), directed=False)[1]
    _, first = np.unique(fan, return_index=True)
    return np.bincount(tail[first], minlength=n), piece


def check_sphere(p: Array, faces: Ints) -> None:
    """Raises MeshError unless the faces are one closed oriented manifold of genus 0, seen from outside."""
    n = len(p)
    tail, head = _half_edges(faces)
    there = np.sort(tail * n + head)
    if not np.array_equal(there, np.sort(head * n + tail)) or (np.diff(there) == 0).any():
        raise MeshError("not a closed oriented manifold")
    fans, piece = sheets(faces, n)
    euler = n - len(faces) // 2
    if (fans != 1).any() or piece.any() or euler != 2 or volume(p, faces) <= 0:
        raise MeshError(f"{piece.max() + 1} pieces, Euler number {euler}, volume {volume(p, faces):.3g}")


def _half_edges(faces: Ints) -> tuple[Ints, Ints]:
    """Tails and heads (3F,): half-edge c * F + f leaves corner c of face f."""
    return faces.T.ravel(), faces[:, [1, 2, 0]].T.ravel()


def _edges(faces: Ints, n: int) -> tuple[Ints, Ints, Ints]:
    """Of E edges: ends, faces and opposite corners, each (E, 2); the first face runs from end 0 to end 1."""
    (tail, head), opposite = _half_edges(faces), faces[:, [2, 0, 1]].T.ravel()
    order = np.argsort(np.minimum(tail, head) * n + np.maximum(tail, head)).reshape(-1, 2)
    swap = tail[order[:, 0]] > head[order[:, 0]]
    order[swap] = order[swap][:, ::-1]
    first = order[:, 0]
    return np.stack([tail[first], head[first]], 1), order % len(faces), opposite[order]


def _neighbours(edge: Ints, n: int) -> tuple[Ints, Ints]:
    """Rows of the adjacency: start (n + 1,) and neighbours, sorted by vertex."""
    both = np.concatenate([edge, edge[:, ::-1]])
    order = np.argsort(both[:, 0], kind="stable")
    return np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=n))]), both[order, 1]


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


def _face_normals(p: Array, faces: Ints) -> Array:
    """(F, 3), twice the area long. Several times faster than numpy.cross on few faces."""
    a, b, c = p[faces[:, 0]], p[faces[:, 1]], p[faces[:, 2]]
    (ux, uy, uz), (vx, vy, vz) = (b - a).T, (c - a).T
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)


def _collapsed(faces: Ints) -> NDArray[np.bool_]:
    a, b, c = faces.T
    return (a == b) | (b == c) | (c == a)


def _upright(p: Array, normal: Array, faces: Ints) -> NDArray[np.bool_]:
    """Faces that look along the surface's normal at their corners."""
    n = _face_normals(p, faces)
    along = _dot(n, normal[faces[:, 0]] + normal[faces[:, 1]] + normal[faces[:, 2]])
    return along > 0.3 * np.sqrt(_dot(n, n))  # the three unit normals sum to at most 3


def _collapse(
    surface: Surface, p: Array, normal: Array, faces: Ints, tau: float, target: int
) -> tuple[Array, Array, Ints]:
    """One round: short edges whose surroundings do not touch shrink to their middle on the surface."""
    n = len(p)
    edge, _, opposite = _edges(faces, n)
    q = np.concatenate([p, tau * normal], 1)
    (u, v), (a, b) = edge.T, opposite.T
    span = q[u] - q[v]
    cost = _dot(span, span)
    start, row = _neighbours(edge, n)
    valence = np.diff(start)
    may = (np.minimum(valence[a], valence[b]) > 3) & (valence[u] + valence[v] <= 14)
    pool = np.argsort(np.where(may, cost, np.inf))[: min(int(may.sum()), max(len(edge) // 3, 30))]

    s, neighbour, pairs = start.tolist(), row.tolist(), edge[pool].tolist()
    taken, chosen = bytearray(n), []
    for i, (x, y) in enumerate(pairs):
        if taken[x] or taken[y]:
            continue
        around_x, around_y = neighbour[s[x] : s[x + 1]], neighbour[s[y] : s[y + 1]]
        if len(set(around_x).intersection(around_y)) != 2:  # the link condition: a collapse would pinch the surface
            continue
        chosen.append(i)
        for z in around_x + around_y:
            taken[z] = 1
    u, v = edge[pool[chosen]].T
    middle, up = surface.project((p[u] + p[v]) / 2)
    moved, turned = p.copy(), normal.copy()
    moved[u], turned[u] = middle, up
    into = np.arange(n)
    into[v] = u
    merged = into[faces]
    bad = np.zeros(n, dtype=bool)
    bad[merged[~_collapsed(merged) & ~_upright(moved, turned, merged)]] = True
    bad = bad[u]  # each face sees one collapse at most, so one that is taken back leaves the others as they are
    bad |= np.cumsum(~bad) > n - target
    moved[u[bad]], turned[u[bad]] = p[u[bad]], normal[u[bad]]
    into[v[bad]] = v[bad]
    merged = into[faces]
    merged = merged[~_collapsed(merged)]
    keep = np.ones(n, dtype=bool)
    keep[v[~bad]] = False
    number = np.cumsum(keep) - 1
    return moved[keep], turned[keep], number[merged]


def _flip(p: Array, normal: Array, faces: Ints, tau: float) -> Ints:
    """Edge flips towards the Delaunay property: angles opposite an edge sum to at most pi."""
    n = len(p)
    q = np.concatenate([p, tau * normal], 1)

    def cotangent(x: Ints, y: Ints, apex: Ints) -> Array:
        one, two = q[x] - q[apex], q[y] - q[apex]
        dot = _dot(one, two)
        return dot / np.sqrt(np.maximum(_dot(one, one) * _dot(two, two) - dot**2, 1e-20))

    for _ in range(6):
        edge, side, opposite = _edges(faces, n)
        (u, v), (a, b) = edge.T, opposite.T
        weight = cotangent(u, v, a) + cotangent(u, v, b)
        valence = np.bincount(edge.ravel(), minlength=n)
        known = np.minimum(u, v) * n + np.maximum(u, v)
        fresh = ~np.isin(np.minimum(a, b) * n + np.maximum(a, b), known)
        wish = np.flatnonzero((weight < -1e-3) & (np.minimum(valence[u], valence[v]) > 3) & fresh & (a != b))
        one, two = np.stack([a, b, v], 1)[wish], np.stack([b, a, u], 1)[wish]
        wish = wish[_upright(p, normal, one) & _upright(p, normal, two)]
        taken, chosen = bytearray(n), []
        for i in wish[np.argsort(weight[wish])].tolist():
            ring = (u[i], v[i], a[i], b[i])
            if not any(taken[x] for x in ring):
                chosen.append(i)
                for x in ring:
                    taken[x] = 1
        if not chosen:
            break
        faces = faces.copy()
        faces[side[chosen, 0]] = np.stack([a, b, v], 1)[chosen]
        faces[side[chosen, 1]] = np.stack([b, a, u], 1)[chosen]
    return faces


def _relax(surface: Surface, p: Array, normal: Array, faces: Ints) -> tuple[Array, Array]:
    """Half a step of each vertex, along the surface, to the mean of its neighbours; none that turns a face over."""
    edge, _, _ = _edges(faces, len(p))
    mean = np.zeros_like(p)
    np.add.at(mean, edge[:, 0], p[edge[:, 1]])
    np.add.at(mean, edge[:, 1], p[edge[:, 0]])
    mean /= np.bincount(edge.ravel(), minlength=len(p))[:, None]
    step = (mean - p) / 2
    step -= _dot(step, normal)[:, None] * normal
    moved, turned = surface.project(p + step, 1)
    for _ in range(3):
        bad = np.unique(faces[~_upright(moved, turned, faces)])
        moved[bad], turned[bad] = p[bad], normal[bad]
    return moved, turned
