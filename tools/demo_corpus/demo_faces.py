"""Drawn talking faces for the demo corpus: softly shaded, anti-aliased, machine-made.

Everything is drawn in *face units*: the origin is the middle of the face, x grows to the right,
y grows downwards, the chin lies at y = 1.  Images are float32 BGR in [0, 1] while being drawn
and uint8 RGB once finished.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]
Colour = tuple[float, float, float]

FRAME_SIZE = 224
_SUPER = 2
_SIDE = FRAME_SIZE * _SUPER
_UNIT = 66.0 * _SUPER
_CENTRE = (FRAME_SIZE * 0.5 * _SUPER, FRAME_SIZE * 0.49 * _SUPER)
_SHIFT = 4
_EYE_X, _EYE_Y, _MOUTH_Y = 0.33, -0.10, 0.50


@dataclass(frozen=True)
class Look:
    """What tells one speaker's picture from another's; colours are RGB in 0..255."""

    skin: Colour
    hair: Colour
    style: Literal["short", "long", "bob", "bun", "curly"]
    iris: Colour
    shirt: Colour
    backdrop: Colour
    width: float = 0.78
    jaw: float = 2.1
    lips: float = 1.0
    brow: float = 1.0
    beard: float = 0.0


@dataclass(frozen=True)
class Pose:
    """One frame's face: valence in [-1, 1], mouth opening and lid closing in [0, 1], head pose.

    ``nod`` is in face units (positive is down), ``tilt`` in degrees, ``gaze`` in face units.
    """

    valence: float
    opening: float
    lids: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    gaze: float = 0.0


def _bgr(colour: Colour) -> Array:
    return np.asarray(colour[::-1], dtype=np.float32) / np.float32(255)


def _dim(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _disc(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)], axis=1)


def _pixels(points: Points) -> NDArray[np.int32]:
    placed = points * _UNIT + np.asarray(_CENTRE)
    rounded: NDArray[np.int32] = np.round(placed * 2**_SHIFT).astype(np.int32)
    return rounded


class _Canvas:
    """An image (side, side, 3) and its cover (side, side), painted in place."""

    def __init__(self) -> None:
        self.image: Array = np.zeros((_SIDE, _SIDE, 3), np.float32)
        self.cover: Array = np.zeros((_SIDE, _SIDE), np.float32)

    def copy(self) -> "_Canvas":
        """Return an independent canvas with the same paint on it."""
        twin = _Canvas()
        twin.image, twin.cover = self.image.copy(), self.cover.copy()
        return twin

    def paint(
        self,
        points: Points,
        colour: Colour,
        *,
        soft: float = 0.0,
        alpha: float = 1.0,
        width: float = 0.0,
        clip: Points | None = None,
        within: bool = False,
    ) -> None:
        """Fill a closed outline, or stroke an open line where ``width`` (face units) is given.

        ``soft`` is the blur in face units; ``clip`` is a second outline that bounds the paint;
        ``within`` keeps the paint to what is already covered.
        """
        margin = int(np.ceil((3 * soft + width) * _UNIT)) + 3
        # A blur of a shape is wanted only near it, so masks are made in a window round it.
        low = np.floor(points.min(0) * _UNIT + _CENTRE).astype(int) - margin
        high = np.ceil(points.max(0) * _UNIT + _CENTRE).astype(int) + margin
        (left, top), (right, bottom) = np.clip(low, 0, _SIDE), np.clip(high, 0, _SIDE)
        if right <= left or bottom <= top:
            return
        corner = np.asarray([left, top]) * 2**_SHIFT
        shape = (int(bottom - top), int(right - left))

        def mask_of(outline: Points, stroke: float) -> Array:
            mask: Any = np.zeros(shape, np.uint8)
            placed = (_pixels(outline) - corner).astype(np.int32)
            if stroke > 0:
                thick = max(1, round(stroke * _UNIT))
                cv2.polylines(mask, [placed], False, 255, thick, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(mask, [placed], 255, cv2.LINE_AA, _SHIFT)
            return np.asarray(mask, np.float32) / np.float32(255)

        mask = mask_of(points, width)
        if soft > 0:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft * _UNIT), np.float32)
        if clip is not None:
            mask = mask * mask_of(clip, 0.0)
        window = (slice(int(top), int(bottom)), slice(int(left), int(right)))
        mask = mask * np.float32(alpha)
        if within:
            mask = mask * self.cover[window]
        area = self.image[window]
        area += mask[..., None] * (_bgr(colour) - area)
        self.cover[window] += mask * (1 - self.cover[window])


def _face_outline(look: Look) -> Points:
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    power = np.where(sin > 0, 2 / look.jaw, 0.92)
    x = np.sign(cos) * np.abs(cos) ** power * look.width
    # The cheeks narrow towards the chin, which an ellipse alone does not do.
    return np.stack([x * (1 - 0.20 * np.clip(sin, 0, 1) ** 2), np.where(sin > 0, 1, 1.05) * sin], 1)


def _shade(canvas: _Canvas, look: Look, rng: np.random.Generator) -> None:
    """Light the painted head as an egg lit from the upper left, with a little skin texture."""
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32)
    x = (columns - _CENTRE[0]) / _UNIT / (look.width * 1.12)
    y = (rows - _CENTRE[1]) / _UNIT / 1.18
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0.0, 1))
    light = 0.66 + 0.44 * np.clip(-0.32 * x - 0.38 * y + 0.80 * depth, 0, 1)
    grain = rng.normal(0, 1, (_SIDE, _SIDE)).astype(np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), 2.2), np.float32)
    light = (light + 0.045 * grain)[..., None]
    # Shadows of skin are redder than its lights.
    canvas.image[:] = np.clip(canvas.image * light ** np.asarray([1.25, 1.12, 0.92]), 0, 1)


def _head(look: Look, rng: np.random.Generator) -> _Canvas:
    """Paint all of a head that does not move within itself: ears, skin, nose."""
    canvas = _Canvas()
    wide, skin = look.width, look.skin
    for side in (-1, 1):
        canvas.paint(_disc(side * (wide + 0.02), -0.02, 0.11, 0.20), _dim(skin, 0.90))
        canvas.paint(_disc(side * (wide + 0.03), -0.02, 0.05, 0.12), _dim(skin, 0.6), soft=0.02)
    canvas.paint(_face_outline(look), skin)
    _shade(canvas, look, rng)
    dark, pale = _mix(_dim(skin, 0.55), (90, 30, 20), 0.15), _mix(skin, (255, 240, 225), 0.5)

    def tone(points: Points, colour: Colour, alpha: float, soft: float, width: float = 0) -> None:
        canvas.paint(points, colour, alpha=alpha, soft=soft, width=width, within=True)

    for side in (-1, 1):
        tone(_disc(side * _EYE_X, _EYE_Y - 0.04, 0.21, 0.13), dark, 0.55, 0.06)
        tone(_disc(side * 0.42, 0.25, 0.15, 0.12), _mix(skin, (225, 70, 70), 0.5), 0.45, 0.08)
        tone(_disc(side * 0.13, 0.23, 0.035, 0.05), dark, 0.55, 0.025)
        tone(_disc(side * 0.075, 0.265, 0.035, 0.018), (45, 18, 14), 0.8, 0.012)
    if look.beard:
        turn = np.linspace(0.0, np.pi, 60)
        outer = _face_outline(look)[:80]
        # From sideburn to sideburn below the cheeks, with the upper lip included.
        inner = np.stack([0.62 * np.cos(turn), 0.10 + 0.26 * np.sin(turn)], 1)[::-1]
        tone(np.concatenate([outer, inner]), _dim(look.hair, 1.1), look.beard, 0.07)
    tone(np.array([[0.10, -0.22], [0.09, 0.0], [0.15, 0.2]]), dark, 0.40, 0.03, 0.05)
    tone(np.array([[-0.13, -0.20], [-0.09, 0.0]]), dark, 0.30, 0.03, 0.04)
    tone(np.array([[-0.02, -0.18], [-0.02, 0.14]]), pale, 0.55, 0.03, 0.06)
    tone(_disc(-0.02, 0.19, 0.055, 0.04), pale, 0.60, 0.025)
    tone(_disc(0.02, 0.315, 0.12, 0.02), dark, 0.50, 0.03)
    tone(_disc(-0.10, -0.52, 0.30, 0.10), pale, 0.32, 0.10)
    tone(_disc(-0.03, 0.84, 0.12, 0.06), pale, 0.25, 0.05)
    return canvas


def _strands(
    canvas: _Canvas, outline: Points, look: Look, rng: np.random.Generator, sweep: float
) -> None:
    """Paint a mass of hair and, inside it, fine lighter and darker strands."""
    canvas.paint(outline, look.hair, soft=0.012)
    (left, top), (right, bottom) = outline.min(0), outline.max(0)
    light, dark = _mix(look.hair, (255, 225, 190), 0.22), _dim(look.hair, 0.45)
    for _ in range(110):
        x, y = rng.uniform(left, right), rng.uniform(top, bottom)
        step = np.linspace(0, 1, 6)
        bend = np.sign(x) * sweep * step + 0.10 * x * step**2
        line = np.stack([x + bend, y + 0.42 * step], axis=1)
        tint = light if rng.random() < 0.45 else dark
        canvas.paint(line, tint, alpha=0.30, soft=0.008, width=0.016, clip=outline)


def _back_hair(look: Look) -> list[Points]:
    wide = look.width
    crown = _disc(0, -0.34, wide + 0.13, 0.90)
    match look.style:
        case "long":
            turn = np.linspace(np.pi, 2 * np.pi, 30)
            top = np.stack([(wide + 0.17) * np.cos(turn), -0.25 + 1.0 * np.sin(turn)], 1)
            ends = [[wide + 0.24, 0.8], [wide + 0.20, 1.12], [wide + 0.02, 1.30], [0.3, 1.2]]
            return [np.concatenate([top, ends, [[-x, y] for x, y in reversed(ends)]])]
        case "bob":
            return [crown, _disc(0, 0.08, wide + 0.22, 0.86)]
        case "bun":
            return [crown, _disc(0, -1.28, 0.34, 0.27)]
        case "curly":
            turn = np.linspace(np.pi * 0.88, 2.12 * np.pi, 13)
            curls = [
                _disc((wide + 0.06) * np.cos(t), -0.30 + 0.88 * np.sin(t), 0.24, 0.23) for t in turn
            ]
            return [crown, *curls]
        case "short":
            return [crown]


def _front_hair(look: Look) -> Points:
    """Outline of the hair over the forehead, from temple over the crown to temple."""
    wide = look.width + (0.05 if look.style == "short" else 0.09)
    reach = {"short": -0.30, "long": 0.05, "bob": 0.12, "bun": -0.28, "curly": -0.22}[look.style]
    turn = np.linspace(np.pi, 2 * np.pi, 40)
    crown = np.stack([wide * np.cos(turn), -0.36 + 0.88 * np.sin(turn)], axis=1)
    peak = 0.22 if look.style in ("long", "bob") else -0.05
    line = np.array([
        [wide, reach], [wide - 0.10, reach], [wide - 0.16, -0.42], [wide * 0.52, -0.70],
        [peak, -0.80], [-wide * 0.42, -0.70], [-wide + 0.15, -0.42], [-wide + 0.10, reach],
        [-wide, reach],
    ])  # fmt: skip
    return np.concatenate([crown, line])


def _brows(canvas: _Canvas, look: Look, valence: float) -> None:
    frown, lift = max(-valence, 0.0), max(valence, 0.0)
    colour = _mix(_dim(look.hair, 0.62), (40, 25, 20), 0.35)
    step = np.linspace(0, 1, 12)
    for side in (-1, 1):
        inner = np.array([0.15 - 0.045 * frown, -0.32 + 0.125 * frown - 0.075 * lift])
        outer = np.array([0.54, -0.31 - 0.075 * frown - 0.06 * lift])
        arch = -(0.085 + 0.075 * lift - 0.05 * frown) * 4 * step * (1 - step) * 0.6
        middle = inner + (outer - inner) * step[:, None] + np.stack([0 * step, arch], 1)
        thick = np.stack([0 * step, (0.050 - 0.032 * step) * look.brow + 0.008], 1)
        shape = np.concatenate([middle - thick, (middle + thick)[::-1]]) * np.array([side, 1.0])
        canvas.paint(shape, colour, soft=0.012, alpha=0.92)
        if frown > 0.25:
            furrow = np.array([[0.055, -0.34], [0.045, -0.20]]) * np.array([side, 1.0])
            canvas.paint(furrow, _dim(look.skin, 0.5), soft=0.01, alpha=0.7 * frown, width=0.018)


def _eyes(canvas: _Canvas, look: Look, pose: Pose) -> None:
    frown, lift = max(-pose.valence, 0.0), max(pose.valence, 0.0)
    opening = max(0.06, (1 - 0.34 * frown + 0.16 * lift) * (1 - pose.lids))
    across = np.linspace(-1, 1, 25)
    bulge = 1 - np.abs(across) ** 2.2
    for side in (-1, 1):
        # A frown presses the inner end of the upper lid down.
        slant = 0.030 * frown * -across * side * bulge
        x = side * _EYE_X + 0.160 * across
        upper = np.stack([x, _EYE_Y - 0.088 * opening * bulge + slant], 1)
        lower = np.stack([x, _EYE_Y + (0.062 - 0.026 * lift) * opening * bulge], 1)
        eye = np.concatenate([upper, lower[::-1]])
        canvas.paint(eye, (238, 234, 230))
        canvas.paint(upper, (60, 45, 45), soft=0.02, alpha=0.5, width=0.03, clip=eye)
        middle = side * _EYE_X + pose.gaze, _EYE_Y - 0.012
        canvas.paint(_disc(*middle, 0.078, 0.078), _dim(look.iris, 0.55), clip=eye)
        canvas.paint(_disc(*middle, 0.062, 0.062), look.iris, soft=0.008, clip=eye)
        canvas.paint(_disc(*middle, 0.034, 0.034), (12, 10, 10), clip=eye)
        glint = _disc(middle[0] - 0.026, middle[1] - 0.028, 0.017, 0.017)
        canvas.paint(glint, (255, 255, 255), alpha=0.95, clip=eye)
        canvas.paint(upper, (35, 22, 20), soft=0.006, width=0.026)
        canvas.paint(lower, _dim(look.skin, 0.5), soft=0.008, alpha=0.55, width=0.012)
        crease = upper - np.array([0, 0.045])
        canvas.paint(crease[2:-2], _dim(look.skin, 0.5), soft=0.012, alpha=0.55, width=0.014)
        if lift > 0.3:
            bag = lower[4:-4] + np.array([0, 0.065])
            canvas.paint(bag, _dim(look.skin, 0.6), soft=0.015, alpha=0.5 * lift, width=0.015)


def _mouth(canvas: _Canvas, look: Look, pose: Pose) -> None:
    frown, lift = max(-pose.valence, 0.0), max(pose.valence, 0.0)
    half = 0.255 + 0.085 * lift + 0.015 * frown - 0.035 * pose.opening
    across = np.linspace(-1, 1, 41)
    bend = -0.125 * lift + 0.115 * frown
    line = _MOUTH_Y + 0.035 * lift - 0.035 * frown + bend * across**2
    dome = 1 - across**2
    gap = (0.030 + 0.060 * lift + 0.17 * pose.opening) * dome
    top, bottom = line - 0.32 * gap, line + 0.68 * gap
    bow = 1 - 0.28 * np.exp(-((across / 0.16) ** 2))
    x = half * across
    upper_lip = top - 0.066 * look.lips * dome**0.7 * bow
    lower_lip = bottom + 0.085 * look.lips * dome**0.8
    rose = _mix(_dim(look.skin, 0.72), (168, 62, 68), 0.48)

    def band(above: Points, below: Points) -> Points:
        return np.concatenate([np.stack([x, above], 1), np.stack([x, below], 1)[::-1]])

    canvas.paint(_disc(0.02, float(lower_lip[20]) + 0.05, 0.16, 0.03), _dim(look.skin, 0.5),
                 soft=0.03, alpha=0.5)  # fmt: skip
    canvas.paint(band(upper_lip, top + 0.012), _dim(rose, 0.82), soft=0.006)
    canvas.paint(band(bottom - 0.012, lower_lip), rose, soft=0.006)
    shine = _disc(-0.04, float(bottom[20] + lower_lip[20]) / 2, 0.09, 0.014)
    canvas.paint(shine, _mix(rose, (255, 235, 230), 0.7), soft=0.014, alpha=0.5)
    inside = band(top, bottom)
    canvas.paint(inside, (58, 16, 20))
    canvas.paint(band(top, top + np.minimum(0.075, 0.62 * gap)), (242, 238, 230), soft=0.005,
                 clip=inside, alpha=min(1.0, 0.25 + lift + pose.opening))  # fmt: skip
    canvas.paint(_disc(0, float(bottom[20]), half * 0.55, 0.045), (190, 82, 84), soft=0.015,
                 alpha=0.8, clip=inside)  # fmt: skip
    for side in (-1, 1):
        corner = np.array([[side * half, line[-1]], [side * (half + 0.022), line[-1] + 0.1 * bend]])
        canvas.paint(corner, _dim(look.skin, 0.45), soft=0.012, alpha=0.7, width=0.02)
        if lift > 0.15:
            fold = np.array([[0.19, 0.22], [half + 0.05, 0.32], [half + 0.09, 0.44]])
            canvas.paint(fold * np.array([side, 1]), _dim(look.skin, 0.55), soft=0.018,
                         alpha=0.65 * lift, width=0.022)  # fmt: skip
            apple = _disc(side * 0.44, 0.21, 0.10, 0.07)
            canvas.paint(apple, _mix(look.skin, (255, 190, 180), 0.6), soft=0.05, alpha=0.5 * lift)


def _scene(look: Look, rng: np.random.Generator) -> Array:
    """Paint what stands still: backdrop with a soft light, shoulders and neck."""
    canvas = _Canvas()
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) / _SIDE
    glow = 0.72 + 0.5 * np.exp(-((columns - 0.3) ** 2 + (rows - 0.25) ** 2) / 0.22)
    canvas.image[:] = np.clip(_bgr(look.backdrop) * glow[..., None], 0, 1)
    body = np.array([[-1.6, 2.2], [-1.45, 1.55], [-1.1, 1.30], [-0.42, 1.12], [0.42, 1.12],
                     [1.1, 1.30], [1.45, 1.55], [1.6, 2.2]])  # fmt: skip
    canvas.paint(body, look.shirt, soft=0.01)
    fold = body + np.array([0.6, 0.25])
    canvas.paint(fold, _dim(look.shirt, 0.6), soft=0.2, alpha=0.5, clip=body)
    canvas.paint(_disc(0, 1.14, 0.45, 0.20), _dim(look.skin, 0.84), soft=0.01)
    neck = np.array([[-0.36, 0.5], [0.36, 0.5], [0.40, 1.16], [-0.40, 1.16]])
    canvas.paint(neck, _dim(look.skin, 0.80), soft=0.01)
    chin = _disc(0.05, 0.86, 0.44, 0.22)
    canvas.paint(chin, _dim(look.skin, 0.42), soft=0.06, clip=neck, alpha=0.8)
    noise = rng.normal(0, 0.006, canvas.image.shape).astype(np.float32)
    return np.asarray(np.clip(canvas.image + noise, 0, 1), np.float32)


def portrait(look: Look, rng: np.random.Generator) -> Callable[[Pose], NDArray[np.uint8]]:
    """Prepare a speaker's still parts and return what draws one frame of them.

    Returns:
        A function from a pose to a frame, uint8 RGB (224, 224, 3).
    """
    scene, head, back, front = _scene(look, rng), _head(look, rng), _Canvas(), _Canvas()
    for outline in _back_hair(look):
        back.paint(outline, _dim(look.hair, 0.72), soft=0.02)
    _strands(front, _front_hair(look), look, rng, 0.05 if look.style == "short" else 0.12)
    under, over = head.cover[..., None], front.cover[..., None]
    cover = 1 - (1 - back.cover[..., None]) * (1 - under) * (1 - over)

    def draw(pose: Pose) -> NDArray[np.uint8]:
        canvas = head.copy()
        _mouth(canvas, look, pose)
        _eyes(canvas, look, pose)
        _brows(canvas, look, pose.valence)
        # Painting on black leaves every layer already multiplied by its cover.
        picture = (back.image * (1 - under) + canvas.image) * (1 - over) + front.image
        turn: Any = cv2.getRotationMatrix2D((_CENTRE[0], _CENTRE[1] + 0.9 * _UNIT), pose.tilt, 1.0)
        turn[1, 2] += pose.nod * _UNIT
        layer: Any = np.concatenate([picture, cover], axis=2)
        layer = cv2.warpAffine(layer, turn, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
        whole = scene * (1 - layer[..., 3:]) + layer[..., :3]
        small: Any = cv2.resize(whole, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_AREA)
        frame = np.clip(small[..., ::-1] * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(frame)

    return draw
