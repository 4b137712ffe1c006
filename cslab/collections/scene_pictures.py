"""Draws the scenes of the atlas: small pictures, the same to the last bit on every machine.

Shapes are inequalities on a fine grid, averaged down so that edges are smooth; numpy alone is used. Reads nothing;
`png` gives bytes for a browser or a file.

    picture = draw(scene, seed=1)           # uint8, (60, 60, 3)
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from cslab.collections.scenes import Group, Scene

SIZE, GLYPH, FINE = 60, 10, 4  # pixels of a picture and of a thing; points per pixel and direction
BACKGROUND = (206, 192, 166)
COLOURS = {
    "red": (214, 36, 36), "blue": (36, 66, 214), "green": (32, 150, 50), "yellow": (247, 208, 12),
    "black": (18, 18, 18), "white": (252, 252, 252), "brown": (112, 62, 22), "grey": (126, 126, 132),
}  # fmt: skip
CENTRES = {"left": (30, 11), "right": (30, 49), "top": (11, 30), "bottom": (49, 30), "middle": (30, 30)}
# Where the things of a group lie about its centre (rows, columns), in pixels.
LAYOUT = {
    1: ((0, 0),),
    2: ((0, -5), (0, 5)),
    3: ((-5, 0), (5, -5), (5, 5)),
    4: ((-5, -5), (-5, 5), (5, -5), (5, 5)),
}

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, y) in -1 … 1, y downwards → inside or not


def _box(left: float, top: float, right: float, bottom: float) -> Field:
    return lambda x, y: (x >= left) & (x <= right) & (y >= top) & (y <= bottom)


def _disc(x0: float, y0: float, radius: float) -> Field:
    return lambda x, y: (x - x0) ** 2 + (y - y0) ** 2 <= radius**2


def _any(*parts: Field) -> Field:
    return lambda x, y: np.logical_or.reduce([part(x, y) for part in parts])


def _without(whole: Field, *holes: Field) -> Field:
    return lambda x, y: whole(x, y) & ~_any(*holes)(x, y)


SHAPES: dict[str, Field] = {
    "ball": _disc(0, 0, 0.85),
    "diamond": lambda x, y: np.abs(x) * 1.3 + np.abs(y) <= 0.95,
    "flag": _any(_box(-0.8, -0.95, -0.55, 0.95), _box(-0.8, -0.95, 0.85, 0.05)),
    "key": _any(
        _without(_disc(0, -0.5, 0.45), _disc(0, -0.5, 0.18)),
        _box(-0.12, -0.1, 0.12, 0.95),
        _box(0, 0.4, 0.55, 0.6),
        _box(0, 0.75, 0.55, 0.95),
    ),
    "ladder": _any(
        _box(-0.75, -0.95, -0.45, 0.95),
        _box(0.45, -0.95, 0.75, 0.95),
        *(_box(-0.6, y, 0.6, y + 0.2) for y in (-0.7, -0.1, 0.5)),
    ),
    "cloud": _any(_disc(-0.5, 0.15, 0.42), _disc(0.5, 0.15, 0.42), _disc(0, -0.15, 0.5), _box(-0.5, 0.1, 0.5, 0.57)),
    "umbrella": _any(
        lambda x, y: (x**2 + (y + 0.05) ** 2 <= 0.81) & (y <= -0.05),
        _box(-0.1, -0.1, 0.1, 0.9),
        _box(-0.1, 0.7, 0.4, 0.9),
    ),
    "cup": _any(
        _box(-0.75, -0.5, 0.35, 0.7), _without(_disc(0.4, 0.05, 0.5), _disc(0.4, 0.05, 0.25), _box(-1, -1, 0.3, 1))
    ),
    "hat": _any(_box(-0.9, 0.4, 0.9, 0.7), _box(-0.5, -0.7, 0.5, 0.5)),
    "tower": _any(_box(-0.4, -0.5, 0.4, 0.95), *(_box(x, -0.95, x + 0.3, -0.4) for x in (-0.65, -0.15, 0.35))),
    "window": _without(
        _box(-0.8, -0.9, 0.8, 0.9), *(_box(x, y, x + 0.5, y + 0.55) for x in (-0.6, 0.1) for y in (-0.7, 0.12))
    ),
    "bell": _any(
        lambda x, y: (np.abs(x) <= 0.35 + 0.13 * (y + 0.6) ** 2 + 0.28 * (y > 0.35)) & (np.abs(y) <= 0.6),
        _disc(0, -0.6, 0.35),
        _disc(0, 0.72, 0.2),
    ),
}


@cache
def glyph(thing: str) -> np.ndarray:
    """How much of each pixel a thing covers, float32 (10, 10)."""
    axis = (np.arange(GLYPH * FINE) + 0.5) / (GLYPH * FINE) * 2 - 1
    inside = SHAPES[thing](axis[None, :], axis[:, None])
    return inside.reshape(GLYPH, FINE, GLYPH, FINE).mean(axis=(1, 3)).astype(np.float32)


def draw(scene: Scene, seed: int = 0) -> np.ndarray:
    """A scene as a picture, uint8 (60, 60, 3); things are a pixel off their place at random.

    Args:
        scene: what to draw.
        seed: of the small displacements.
    """
    random = np.random.default_rng([seed, zlib.crc32(scene.id.encode())])
    picture = np.tile(np.float32(BACKGROUND), (SIZE, SIZE, 1))
    for group in scene.groups:
        _put(picture, group, random)
    return np.round(picture).astype(np.uint8)


def _put(picture: np.ndarray, group: Group, random: np.random.Generator) -> None:
    cover, ink = glyph(group.thing)[:, :, None], np.float32(COLOURS[group.colour])
    for row, column in LAYOUT[group.number]:
        top = CENTRES[group.place][0] + row - GLYPH // 2 + int(random.integers(-1, 2))
        left = CENTRES[group.place][1] + column - GLYPH // 2 + int(random.integers(-1, 2))
        here = picture[max(top, 0) : top + GLYPH, max(left, 0) : left + GLYPH]
        seen = cover[max(-top, 0) :, max(-left, 0) :][: here.shape[0], : here.shape[1]]
        here[:] = here * (1 - seen) + ink * seen


def pictures(made: Sequence[Scene], seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """(id, picture) of each scene."""
    return [(scene.id, draw(scene, seed)) for scene in made]


def png(picture: np.ndarray, zoom: int = 1) -> bytes:
    """A picture, uint8 (height, width, 3), as a PNG file (RFC 2083), each pixel `zoom` times as large."""
    large = np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
    height, width = large.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), large.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
