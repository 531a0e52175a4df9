"""The creatures: limbs of each class, in a rest pose about one unit long in which no two limbs are near each other."""

from functools import cache
from math import cos, radians, sin

from .body import Body, Limb

Point = tuple[float, float, float]

STILL = (0.0, 0.0, 0.0)


def _ray(angle: float, reach: float, height: float, z: float = 0.0) -> Point:
    """The point at a distance from the vertical axis, `angle` degrees from +x towards +z."""
    return reach * cos(radians(angle)), height, z + reach * sin(radians(angle))


def _human() -> list[Limb]:
    return [
        Limb("spine", "torso", "", [(0, 0, 0), (0, 0.17, 0), (0, 0.33, 0)], [0.1, 0.09, 0.115],
             [STILL, (0.5, 0.35, 0.5)], flat=(0, 0, 1.25)),
        Limb("neck", "neck", "spine1", [(0, 0.36, 0), (0, 0.49, 0.0)], [0.05, 0.045], [(0.3, 0.3, 0.3)]),
        Limb("head", "head", "neck0", [(0, 0.52, 0.0), (0, 0.59, 0.02)], [0.085, 0.09], [(0.4, 0.3, 0.5)]),
        Limb("arm", "arm", "spine1", [(0.13, 0.35, 0), (0.36, 0.28, 0), (0.57, 0.2, 0.03), (0.66, 0.17, 0.045)],
             [0.055, 0.045, 0.036, 0.042], [(0.9, 0.8, 0.5), (0.1, 0.1, 0.5), (0.4, 0.2, 0)],
             [STILL, (0, -1.7, 0), STILL], mirror=True),
        Limb("leg", "leg", "spine0", [(0.075, -0.05, 0), (0.12, -0.36, 0), (0.15, -0.68, -0.02)],
             [0.075, 0.055, 0.042], [(0.9, 0.4, 0.3), STILL], [STILL, (1.7, 0, 0)], mirror=True),
        Limb("foot", "leg", "leg1", [(0.15, -0.69, 0.0), (0.16, -0.71, 0.12)], [0.042, 0.035], [(0.5, 0.2, 0.2)],
             mirror=True),
    ]


def _quadruped_leg(name: str, on: str, points: list[Point], radii: list[float], knee: float) -> Limb:
    return Limb(name, "leg", on, points, radii, [(0.8, 0.25, 0.2), (0.1, 0, 0)], [STILL, (knee, 0, 0)], mirror=True)


def _dog() -> list[Limb]:
    return [
        Limb("spine", "torso", "", [(0, 0.42, -0.3), (0, 0.42, -0.04), (0, 0.43, 0.2)], [0.11, 0.105, 0.13],
             [STILL, (0.4, 0.5, 0.3)]),
        Limb("neck", "neck", "spine1", [(0, 0.5, 0.24), (0, 0.64, 0.34)], [0.085, 0.075], [(0.5, 0.4, 0.3)]),
        Limb("head", "head", "neck0", [(0, 0.66, 0.38), (0, 0.6, 0.6)], [0.095, 0.048], [(0.5, 0.4, 0.5)]),
        Limb("ear", "head", "head0", [(0.06, 0.72, 0.35), (0.11, 0.86, 0.3)], [0.045, 0.03], [(0.4, 0.3, 0)],
             mirror=True),
        Limb("tail", "tail", "spine0", [(0, 0.46, -0.39), (0, 0.6, -0.53), (0, 0.76, -0.62)], [0.042, 0.036, 0.03],
             [(0.7, 0.7, 0), (0.6, 0.6, 0)]),
        _quadruped_leg("fore", "spine1", [(0.1, 0.36, 0.2), (0.115, 0.19, 0.18), (0.12, 0.0, 0.21)],
                       [0.062, 0.045, 0.042], 1.3),
        _quadruped_leg("hind", "spine0", [(0.1, 0.36, -0.3), (0.115, 0.19, -0.25), (0.12, 0.0, -0.33)],
                       [0.075, 0.048, 0.042], 1.3),
    ]


def _giraffe() -> list[Limb]:
    return [
        Limb("spine", "torso", "", [(0, 0.6, -0.22), (0, 0.62, -0.02), (0, 0.65, 0.16)], [0.11, 0.115, 0.12],
             [STILL, (0.3, 0.35, 0.2)]),
        Limb("neck", "neck", "spine1", [(0, 0.73, 0.22), (0, 0.93, 0.32), (0, 1.13, 0.4), (0, 1.3, 0.45)],
             [0.085, 0.066, 0.055, 0.05], [(0.45, 0.4, 0.2), (0.45, 0.4, 0.2), (0.45, 0.4, 0.2)]),
        Limb("head", "head", "neck2", [(0, 1.35, 0.48), (0, 1.29, 0.66)], [0.07, 0.045], [(0.6, 0.5, 0.4)]),
        Limb("horn", "head", "head0", [(0.035, 1.4, 0.45), (0.07, 1.52, 0.42)], [0.032, 0.03], [STILL], mirror=True),
        Limb("tail", "tail", "spine0", [(0, 0.62, -0.32), (0, 0.5, -0.43), (0, 0.34, -0.48)], [0.034, 0.03, 0.034],
             [(0.6, 0.6, 0), (0.6, 0.6, 0)]),
        _quadruped_leg("fore", "spine1", [(0.09, 0.56, 0.17), (0.11, 0.28, 0.16), (0.12, -0.02, 0.18)],
                       [0.06, 0.044, 0.04], 1.3),
        _quadruped_leg("hind", "spine0", [(0.09, 0.52, -0.23), (0.11, 0.27, -0.19), (0.12, -0.02, -0.25)],
                       [0.065, 0.046, 0.04], 1.3),
    ]


def _bird() -> list[Limb]:
    return [
        Limb("spine", "torso", "", [(0, 0, -0.17), (0, 0.04, 0.14)], [0.1, 0.125], [STILL]),
        Limb("neck", "neck", "spine0", [(0, 0.1, 0.22), (0, 0.24, 0.31)], [0.075, 0.06], [(0.6, 0.5, 0.2)]),
        Limb("head", "head", "neck0", [(0, 0.27, 0.34), (0, 0.27, 0.39)], [0.08, 0.07], [(0.6, 0.5, 0.4)]),
        Limb("beak", "head", "head0", [(0, 0.26, 0.44), (0, 0.22, 0.57)], [0.045, 0.025], [STILL]),
        Limb("wing", "wing", "spine0", [(0.1, 0.09, 0.03), (0.4, 0.15, 0.03), (0.78, 0.13, -0.08)],
             [0.13, 0.13, 0.08], [(0.8, 0.35, 0.5), (0.7, 0.35, 0.4)], mirror=True, flat=(0, 3, 0)),
        Limb("tail", "tail", "spine0", [(0, 0.0, -0.22), (0, 0.02, -0.5)], [0.08, 0.13], [(0.6, 0.4, 0.4)],
             flat=(0, 3, 0)),
        Limb("leg", "leg", "spine0", [(0.065, -0.09, -0.03), (0.085, -0.25, 0.01), (0.09, -0.4, -0.04)],
             [0.05, 0.036, 0.034], [(0.8, 0.3, 0.2), (0.1, 0, 0)], [STILL, (1.4, 0, 0)], mirror=True),
        Limb("foot", "leg", "leg1", [(0.09, -0.41, -0.03), (0.1, -0.43, 0.12)], [0.034, 0.032], [(0.6, 0.2, 0.2)],
             mirror=True),
    ]


def _spider() -> list[Limb]:
    legs = [
        Limb(f"leg{i}", "leg", "thorax0",
             [_ray(a, 0.1, 0, 0.05), _ray(a, 0.36, 0.2, 0.05), _ray(a, 0.6, 0.06, 0.05), _ray(a, 0.78, -0.2, 0.05)],
             [0.036, 0.034, 0.032, 0.028], [(0.5, 0.35, 0), (0.6, 0.15, 0), (0.6, 0, 0)], mirror=True)
        for i, a in enumerate((56, 20, -16, -52))
    ]  # fmt: skip
    return [
        Limb("thorax", "torso", "", [(0, 0, 0.0), (0, 0, 0.1)], [0.1, 0.095], [STILL]),
        Limb("abdomen", "torso", "thorax0", [(0, 0.03, -0.22), (0, 0.07, -0.34)], [0.13, 0.16], [(0.6, 0.5, 0.2)]),
        Limb("head", "head", "thorax0", [(0, 0.02, 0.2), (0, 0.02, 0.24)], [0.07, 0.065], [(0.3, 0.3, 0.2)]),
        *legs,
    ]


def _octopus() -> list[Limb]:
    arms = [
        Limb(f"arm{i}", "arm", "head0",
             [_ray(a, 0.1, 0.06), _ray(a, 0.3, 0.0), _ray(a, 0.5, -0.03), _ray(a, 0.68, -0.02), _ray(a, 0.84, 0.02)],
             [0.055, 0.048, 0.042, 0.036, 0.03], [(0.5, 0.25, 0)] + 3 * [(0.7, 0.6, 0)], mirror=True)
        for i, a in enumerate((67.5, 22.5, -22.5, -67.5))
    ]  # fmt: skip
    return [
        Limb("head", "head", "", [(0, 0.1, 0), (0, 0.17, 0)], [0.13, 0.12], [STILL]),
        Limb("mantle", "torso", "head0", [(0, 0.33, -0.04), (0, 0.46, -0.1)], [0.17, 0.15], [(0.5, 0.5, 0.3)]),
        *arms,
    ]


def _lizard() -> list[Limb]:
    def leg(name: str, on: str, z: float, step: float) -> Limb:
        return Limb(name, "leg", on, [(0.07, -0.02, z), (0.22, 0.02, z + step), (0.33, -0.1, z + 2 * step)],
                    [0.045, 0.038, 0.036], [(0.4, 0.6, 0.4), (0.5, 0.6, 0)], mirror=True)  # fmt: skip

    tail = [(0.0, 0.0, -0.3), (0.0, -0.01, -0.47), (0.0, -0.02, -0.64), (0.0, -0.02, -0.81), (0.0, 0.0, -0.97)]
    return [
        Limb("spine", "torso", "", [(0, 0, -0.22), (0, 0, 0), (0, 0, 0.2)], [0.085, 0.1, 0.085],
             [STILL, (0.25, 0.6, 0.2)], flat=(0, 1.2, 0)),
        Limb("head", "head", "spine1", [(0, 0.02, 0.33), (0, 0.0, 0.5)], [0.085, 0.05], [(0.4, 0.7, 0.3)],
             flat=(0, 1.2, 0)),
        Limb("tail", "tail", "spine0", tail, [0.075, 0.06, 0.047, 0.037, 0.028], 4 * [(0.3, 0.7, 0)]),
        leg("fore", "spine1", 0.17, 0.05),
        leg("hind", "spine0", -0.19, -0.05),
    ]


def _shark() -> list[Limb]:
    return [
        Limb("spine", "torso", "", [(0, 0, 0), (0, 0, 0.2)], [0.15, 0.14], [STILL]),
        Limb("head", "head", "spine0", [(0, 0, 0.3), (0, -0.01, 0.56)], [0.13, 0.05], [(0.3, 0.5, 0.2)]),
        Limb("tail", "tail", "spine0", [(0, 0, -0.1), (0, 0, -0.35), (0, 0, -0.6)], [0.14, 0.095, 0.052],
             [(0.2, 0.7, 0.2), (0.2, 0.8, 0.2)]),
        Limb("upper", "fin", "tail1", [(0, 0.03, -0.64), (0, 0.27, -0.84)], [0.085, 0.055], [(0.2, 0.6, 0.2)],
             flat=(2.2, 0, 0)),
        Limb("lower", "fin", "tail1", [(0, -0.03, -0.64), (0, -0.17, -0.76)], [0.08, 0.055], [(0.2, 0.6, 0.2)],
             flat=(2.2, 0, 0)),
        Limb("dorsal", "fin", "spine0", [(0, 0.13, 0.03), (0, 0.34, -0.1)], [0.1, 0.06], [(0.2, 0.4, 0.2)],
             flat=(2.5, 0, 0)),
        Limb("side", "fin", "spine0", [(0.12, -0.05, 0.14), (0.44, -0.13, -0.02)], [0.1, 0.06], [(0.7, 0.5, 0.5)],
             mirror=True, flat=(0, 2.5, 0)),
    ]  # fmt: skip


def _crab() -> list[Limb]:
    legs = [
        Limb(f"leg{i}", "leg", "shell0",
             [_ray(a, 0.24, -0.02), _ray(a, 0.46, 0.1), _ray(a, 0.64, -0.14)],
             [0.04, 0.036, 0.028], [(0.45, 0.3, 0), (0.6, 0.2, 0)], mirror=True)
        for i, a in enumerate((8, -22, -52))
    ]  # fmt: skip
    return [
        Limb("shell", "torso", "", [(-0.1, 0, 0), (0.1, 0, 0)], [0.19, 0.19], [STILL], flat=(0, 1.7, 0)),
        Limb("eye", "head", "shell0", [(0.06, 0.07, 0.14), (0.08, 0.19, 0.19)], [0.04, 0.042], [(0.4, 0.4, 0)],
             mirror=True),
        Limb("claw", "arm", "shell0", [(0.2, 0, 0.13), (0.38, 0.03, 0.28), (0.33, 0.03, 0.46)], [0.045, 0.045, 0.075],
             [(0.5, 0.5, 0.3), (0.5, 0.7, 0.4)], mirror=True),
        Limb("finger", "arm", "claw1", [(0.36, 0.03, 0.5), (0.3, 0.03, 0.68)], [0.055, 0.03], [(0, 0.3, 0)],
             mirror=True),
        Limb("thumb", "arm", "claw1", [(0.29, 0.03, 0.48), (0.19, 0.03, 0.6)], [0.045, 0.03], [(0, 0.3, 0)],
             mirror=True),
        *legs,
    ]


def _elephant() -> list[Limb]:
    trunk = [(0.0, 0.56, 0.5), (0.0, 0.42, 0.6), (0.0, 0.26, 0.63), (0.0, 0.1, 0.67)]
    return [
        Limb("spine", "torso", "", [(0, 0.48, -0.22), (0, 0.5, 0.0), (0, 0.5, 0.16)], [0.2, 0.21, 0.19],
             [STILL, (0.2, 0.3, 0.15)]),
        Limb("head", "head", "spine1", [(0, 0.63, 0.36), (0, 0.62, 0.4)], [0.14, 0.13], [(0.35, 0.4, 0.3)]),
        Limb("trunk", "head", "head0", trunk, [0.075, 0.06, 0.05, 0.042], 3 * [(0.7, 0.6, 0)]),
        Limb("ear", "head", "head0", [(0.14, 0.66, 0.34), (0.31, 0.6, 0.26)], [0.1, 0.13], [(0.2, 0.5, 0.2)],
             mirror=True, flat=(1.5, 0, 3)),
        Limb("tail", "tail", "spine0", [(0, 0.54, -0.42), (0, 0.4, -0.52), (0, 0.24, -0.55)], [0.036, 0.032, 0.034],
             [(0.6, 0.6, 0), (0.6, 0.6, 0)]),
        _quadruped_leg("fore", "spine1", [(0.13, 0.38, 0.15), (0.14, 0.2, 0.15), (0.145, 0.02, 0.16)],
                       [0.095, 0.08, 0.082], 1.0),
        _quadruped_leg("hind", "spine0", [(0.13, 0.36, -0.24), (0.14, 0.2, -0.22), (0.145, 0.02, -0.25)],
                       [0.1, 0.08, 0.082], 1.0),
    ]  # fmt: skip


_LIMBS = {
    "human": _human, "dog": _dog, "giraffe": _giraffe, "elephant": _elephant, "lizard": _lizard,
    "bird": _bird, "shark": _shark, "spider": _spider, "crab": _crab, "octopus": _octopus,
}  # fmt: skip

CLASSES = tuple(_LIMBS)


@cache
def body(name: str) -> Body:
    """The rest-pose body of a class."""
    return Body(_LIMBS[name]())
