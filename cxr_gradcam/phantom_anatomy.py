"""The body behind a phantom: how much soft tissue, air and bone an X-ray meets on its way.

Lengths, places and directions are those of `phantom_geometry`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_gradcam.phantom_geometry import (
    CURVE_POINTS,
    Field,
    Grid,
    Mask,
    along_height,
    arc,
    dome,
    edge,
    smooth_noise,
    tube,
)

# Borders and depths as (y, value) control points of an average adult.
CAVITY_HALF_WIDTH = (
    (-13.2, 0.3), (-12.9, 2.6), (-12.0, 5.2), (-10.5, 7.4), (-8.0, 9.5), (-5.0, 11.1),
    (-1.0, 12.3), (4.0, 13.0), (9.0, 13.4), (14.0, 13.4), (24.0, 13.0),
)  # fmt: skip
CAVITY_DEPTH = ((-13.0, 5.0), (-9.0, 9.0), (-4.0, 12.0), (3.0, 14.0), (12.0, 14.5))
TRUNK_HALF_WIDTH = (
    (-16.0, 6.0), (-13.0, 10.0), (-10.5, 14.5), (-7.5, 17.5), (-3.0, 17.8), (0.0, 17.0),
    (3.0, 16.0), (8.0, 15.3), (14.0, 15.0), (24.0, 16.0),
)  # fmt: skip
TRUNK_DEPTH = ((-16.0, 9.0), (-12.0, 13.0), (-7.0, 17.0), (0.0, 20.0), (8.0, 21.0), (20.0, 21.5))
# Left border, from above: subclavian artery, aortic knob, window, pulmonary trunk, left ventricle.
LEFT_HEART_BORDER = (
    (-20.0, 2.6), (-12.0, 2.5), (-8.5, 2.2), (-6.3, 3.3), (-5.2, 3.4), (-3.8, 2.6), (-1.8, 3.6),
    (0.2, 4.1), (3.0, 6.2), (6.0, 8.0), (8.5, 8.7), (10.5, 8.2), (13.0, 5.5),
)  # fmt: skip
# Right border, from above: superior vena cava, ascending aorta, right atrium.
RIGHT_HEART_BORDER = (
    (-20.0, 2.7), (-12.0, 2.5), (-7.0, 2.3), (-2.0, 2.5), (1.0, 3.0), (4.5, 3.8), (7.0, 3.8),
    (10.0, 3.3), (13.0, 3.1),
)  # fmt: skip
VERTEBRA_PITCH = 2.35
FIRST_VERTEBRA = -12.6  # T1
RIB_COUNT = 11
LUNG_DENSITY = 0.27  # of soft tissue's
VESSEL_STEP = 0.05  # cm, pixel of the map that vessels are drawn on before the warp
VESSEL_FIELD = 16.0  # cm, half the side of that map
THINNEST_VESSEL = 0.13  # cm, radius below which no branches are drawn


@dataclass(frozen=True)
class Patient:
    """What differs from one patient to the next; lengths in cm, the rest factors around 1."""

    scale: float  # of the whole body
    breadth: float  # of the body, side to side
    girth: float  # of the body, front to back
    wall: float  # muscle and fat outside the ribs, more than the least
    heart: float
    knob: float  # how far the aortic knob bulges, more than the average
    diaphragm: float  # y of the right dome; the deeper the breath, the larger
    left_drop: float  # how much lower the left dome is
    yaw: float  # shift of what lies in front of the spine, as the patient is a little turned
    rib_slope: float
    bone: float  # mineral
    spine: float  # how plainly the spine shows
    vessels: float
    shoulder: float  # how far the shoulders are raised
    arm: float  # x of the elbow
    breast: float  # depth, 0 for none
    gas: float  # size of the stomach's gas bubble, 0 for none


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draws one patient from the spread of ordinary ones."""
    return Patient(
        scale=rng.uniform(0.86, 1.08),
        breadth=rng.normal(1.0, 0.05),
        girth=rng.normal(1.0, 0.08),
        wall=rng.uniform(-0.3, 2.2),
        heart=rng.uniform(0.85, 1.18),
        knob=rng.uniform(-0.3, 0.7),
        diaphragm=rng.uniform(5.0, 10.0),
        left_drop=rng.uniform(0.5, 1.6),
        yaw=rng.normal(0.0, 0.4),
        rib_slope=rng.uniform(0.75, 1.3),
        bone=rng.uniform(0.75, 1.25),
        spine=rng.uniform(0.5, 1.3),
        vessels=rng.uniform(0.8, 1.3),
        shoulder=rng.uniform(-0.8, 2.2),
        arm=rng.uniform(19.0, 27.0),
        breast=rng.uniform(1.0, 4.0) if rng.random() < 0.45 else 0.0,
        gas=rng.uniform(0.7, 1.6) if rng.random() < 0.6 else 0.0,
    )


def draw_grid(rng: np.random.Generator, patient: Patient, size: int) -> Grid:
    """Poses the patient before the film: field of view, shift, tilt and a gentle random warp."""
    field_of_view = rng.uniform(32.0, 41.0) / patient.scale
    centre = np.array([rng.normal(0.0, 0.7), rng.uniform(-0.8, 2.2)])
    tilt = np.deg2rad(rng.normal(0.0, 2.0))
    pixel = field_of_view / size
    turn = pixel * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    turn[0] /= patient.breadth
    middle = np.full(2, (size - 1) / 2)
    to_pixel = np.linalg.inv(turn)
    columns, rows = np.meshgrid(np.arange(size) - middle[0], np.arange(size) - middle[1])
    warp = [0.3 * smooth_noise(rng, 5, size) for _ in range(2)]
    x = turn[0, 0] * columns + turn[0, 1] * rows + centre[0] + warp[0]
    y = turn[1, 0] * columns + turn[1, 1] * rows + centre[1] + warp[1]
    offset = middle - to_pixel @ centre
    slack = float(max(np.abs(warp[0]).max(), np.abs(warp[1]).max()))
    return Grid(
        x.astype(np.float32), y.astype(np.float32), np.column_stack([to_pixel, offset]), slack
    )


# ---------------------------------------------------------------- soft tissue


def body_depth(grid: Grid, patient: Patient) -> Field:
    """Depth of the whole body, skin to skin, in cm: trunk, neck, shoulders, arms, breasts."""
    half_width = along_height(TRUNK_HALF_WIDTH, grid.y) + patient.wall
    u = np.abs(grid.x) / half_width
    depth = along_height(TRUNK_DEPTH, grid.y) * patient.girth
    trunk = depth * np.sqrt(np.clip(1 - u**7, 0, None))
    parts = [trunk, *limbs(grid, patient)]
    whole = np.sqrt(np.sqrt(sum(part**4 for part in parts)))
    return np.asarray(whole + breasts(grid, patient), np.float32)


def limbs(grid: Grid, patient: Patient) -> Iterator[Field]:
    """Neck, shoulders and upper arms, each as its own depth in cm."""
    neck = np.zeros_like(grid.x)
    tube(neck, grid, arc((0, -30), (0, -8)), (5.4, 6.4), 1.15)
    yield neck
    for side in (-1, 1):
        high = patient.shoulder
        shoulder, arm = np.zeros_like(grid.x), np.zeros_like(grid.x)
        ridge = arc((side * 2, -12.5), (side * 9, -10.2 - high / 2), (side * 17.0, -8.0 - high))
        tube(shoulder, grid, ridge, (5.2, 5.4), 1.3)
        upper = arc((side * 18, -8.0 - high), (side * patient.arm, 18))
        tube(arm, grid, upper, (5.0, 4.2))
        yield shoulder
        yield arm


def breasts(grid: Grid, patient: Patient) -> Field:
    """Extra depth of the breasts in cm; their lower rim is the visible one."""
    across = (np.abs(grid.x) - 8.5) / 6.5
    down = (grid.y - 7.0) / np.where(grid.y > 7.0, 5.0, 9.0)
    rise = np.clip(1 - across**2 - down**2, 0, None)
    return np.asarray(patient.breast * rise ** np.where(grid.y > 7.0, 0.6, 1.3), np.float32)


# ---------------------------------------------------------------- thoracic cavity


@dataclass(frozen=True, eq=False)
class Chest:
    """The thoracic cavity: path lengths in cm and soft memberships in [0, 1], all (H, W)."""

    cavity: Field  # depth inside the rib cage
    heart: Field  # share of the cavity taken by heart, great vessels and spine
    abdomen: Field  # share of the cavity taken by what lies under the diaphragm
    wall: Field  # muscle between the ribs, seen edge-on round the lungs
    lung_mask: Mask

    @property
    def air(self) -> Field:
        """Depth of lung in cm."""
        return np.asarray(self.cavity * (1 - self.heart) * (1 - self.abdomen), np.float32)


def draw_chest(grid: Grid, patient: Patient) -> Chest:
    """Carves lungs out of the trunk: rib cage less mediastinum less diaphragm."""
    # An apex is highest some way from the spine, so the roof sinks towards the midline.
    y = grid.y - 0.1 * np.clip(4.5 - np.abs(grid.x), 0, None) ** 2
    half_width = along_height(CAVITY_HALF_WIDTH, y)
    sideways = half_width - np.abs(grid.x)
    u = np.minimum(np.abs(grid.x) / half_width, 1)
    cavity = along_height(CAVITY_DEPTH, grid.y) * patient.girth * dome(u) ** 0.5
    wall = 2.5 * np.exp(-((sideways / 0.55 + 0.6) ** 2)) * edge(grid.y + 9.0, 4.0)
    beside = outside_mediastinum(grid, patient)
    above = above_diaphragm(grid, patient)
    lungs = (sideways > 0) & (beside > 0) & (above > 0)
    return Chest(cavity, heart_share(beside), abdomen_share(above), wall, lungs)


def outside_mediastinum(grid: Grid, patient: Patient) -> Field:
    """Signed distance in cm, sideways, from the border of heart and great vessels."""
    x = grid.x - patient.yaw
    size = 1 + (patient.heart - 1) * edge(grid.y + 1.0, 3.0)  # of the heart, not the vessels above
    knob = patient.knob * np.exp(-((grid.y + 5.6) ** 2) / 1.5)
    left = along_height(LEFT_HEART_BORDER, grid.y) * size + knob
    right = along_height(RIGHT_HEART_BORDER, grid.y) * size
    return np.asarray(np.maximum(x - left, -x - right), np.float32)


def heart_share(beside: Field) -> Field:
    """Share of the depth that the mediastinum fills: a sharp rim, then a rounded body."""
    body = dome(1 - np.clip(-beside / 4.0, 0, 1))
    return np.asarray(edge(-beside, 0.4) * (0.3 + 0.5 * body), np.float32)


def above_diaphragm(grid: Grid, patient: Patient) -> Field:
    """Signed distance in cm, upwards, from the domes of the diaphragm."""
    domes = []
    for middle, peak in ((-5.8, patient.diaphragm), (6.6, patient.diaphragm + patient.left_drop)):
        away = (grid.x - middle) * np.sign(middle)
        domes.append(peak + np.where(away > 0, 0.075, 0.035) * away**2)
    left = edge(grid.x, 2.4)
    return np.asarray(domes[0] * (1 - left) + domes[1] * left - grid.y, np.float32)


def abdomen_share(above: Field) -> Field:
    """Share of the depth under the dome; lung behind the diaphragm thins out over some cm."""
    behind = np.clip(-above / 5.0, 0, 1)
    return np.asarray(edge(-above) * (0.82 + 0.18 * behind), np.float32)


def airways(grid: Grid, patient: Patient) -> Field:
    """Depth of air in trachea and main bronchi, and of the gas bubble in the stomach, in cm."""
    air = np.zeros_like(grid.x)
    shift = patient.yaw - 0.3
    tube(air, grid, arc((0, -24), (shift, -12), (shift, -3.2)), (1.0, 0.9),
         (1.6, 0.6))  # fmt: skip
    tube(air, grid, arc((shift, -3.7), (shift - 2.4, -1.0)), (0.65, 0.5), 0.5)
    tube(air, grid, arc((shift, -3.7), (shift + 3.2, -1.6)), (0.6, 0.4), 0.5)
    if patient.gas:
        middle = patient.diaphragm + patient.left_drop + 0.9 + 0.8 * patient.gas
        across, down = (grid.x - 6.5) / (1.7 * patient.gas), (grid.y - middle) / patient.gas
        wavy = across**2 + down**2 + 0.25 * np.sin(2.1 * grid.x + 1.3 * grid.y)
        air += 2.2 * patient.gas * np.clip(1 - wavy, 0, 1) ** 0.7
    return air


# ---------------------------------------------------------------- vessels


def vessels(grid: Grid, patient: Patient, rng: np.random.Generator) -> Field:
    """Depth of the pulmonary vessels in cm: two trees that taper from the hila outwards."""
    side_length = round(2 * VESSEL_FIELD / VESSEL_STEP)
    tree = np.zeros((side_length, side_length), np.float32)
    hila = np.zeros_like(grid.x)
    for side in (-1, 1):
        # The left hilum lies higher than the right one.
        x, y = side * 4.2 + patient.yaw, 0.2 if side < 0 else -0.8
        for angle in np.deg2rad(np.linspace(-80, 84, 8) + rng.normal(0, 8, 8)):
            root = (x, y + 1.6 * math.sin(angle))
            grow_vessel(tree, rng, root, side, float(angle), 0.54 * patient.vessels)
        # The trunks themselves: a comma that hangs from the hilum outwards and down.
        lean = side * (grid.x - x) + 0.3 - 0.25 * (grid.y - y)
        far = (lean / 1.3) ** 2 + ((grid.y - y - 0.6) / 2.3) ** 2
        hila += 4.5 * patient.vessels * np.exp(-far)
    soft = cv2.GaussianBlur(tree, (0, 0), 0.07 / VESSEL_STEP)
    columns, rows = ((place + VESSEL_FIELD) / VESSEL_STEP for place in (grid.x, grid.y))
    return np.asarray(cv2.remap(soft, columns, rows, cv2.INTER_LINEAR) + hila, np.float32)


def grow_vessel(
    tree: Field, rng: np.random.Generator, root: tuple[float, float], side: int, angle: float,
    radius: float,
) -> None:  # fmt: skip
    """Draws one vessel, over its two branches, which it has while it is thick enough to be seen."""
    length = rng.uniform(0.8, 1.5) * (0.6 + radius / 0.5)
    bend = angle + rng.normal(0, 0.22)
    knee = (root[0] + side * length * math.cos(angle), root[1] + length * math.sin(angle))
    tip = (knee[0] + side * length * math.cos(bend), knee[1] + length * math.sin(bend))
    if radius > THINNEST_VESSEL:
        for turn, share in ((-1, rng.uniform(0.6, 0.78)), (1, rng.uniform(0.5, 0.7))):
            fork = bend + turn * rng.uniform(0.15, 0.6)
            grow_vessel(tree, rng, tip, side, fork, radius * share)
    for start, end, thick in ((knee, tip, 0.82 * radius), (root, knee, 0.94 * radius)):
        pixels = [[round(8 * (c + VESSEL_FIELD) / VESSEL_STEP) for c in p] for p in (start, end)]
        width = max(1, round(2 * thick / VESSEL_STEP))
        cv2.line(tree, pixels[0], pixels[1], 3.0 * thick, width, cv2.LINE_8, shift=3)


# ---------------------------------------------------------------- bones


def skeleton(grid: Grid, patient: Patient) -> Field:
    """Path length through bone in cm, cortical equivalent."""
    bone = np.zeros_like(grid.x)
    spine(bone, grid, patient)
    for side in (-1, 1):
        for number in range(1, RIB_COUNT + 1):
            rib(bone, grid, patient, side, number)
        clavicle(bone, grid, patient, side)
        scapula(bone, grid, patient, side)
        humerus(bone, grid, patient, side)
    return patient.bone * bone


def spine(bone: Field, grid: Grid, patient: Patient) -> None:
    """Adds the vertebral bodies with their discs, end plates, pedicles and spinous processes."""
    phase = (grid.y - FIRST_VERTEBRA) / VERTEBRA_PITCH
    within = np.abs(phase - np.round(phase)) * 2  # 0 at a body's middle, 1 at the disc's
    waist = 1.55 + 0.02 * (grid.y + 12) + 0.15 * within**2
    column = edge(waist - np.abs(grid.x), 0.5)
    body = column * (0.86 + 0.14 * edge(0.82 - within, 0.25))
    plate = np.exp(-(((within - 0.75) / 0.1) ** 2)) * column
    row = (phase - np.round(phase) + 0.12) * VERTEBRA_PITCH
    pedicle = np.exp(-((np.abs(grid.x) - 1.1) ** 2 + (row / 1.3) ** 2) / 0.08)
    process = np.exp(-((grid.x / 0.35) ** 2) - ((row - 0.7) / 0.6) ** 2)
    bone += patient.spine * (0.9 * body + 0.1 * plate + 0.25 * pedicle + 0.3 * process)


def rib(bone: Field, grid: Grid, patient: Patient, side: int, number: int) -> None:
    """Adds one rib: a hoop in a tilted plane, its back half crisp, its front half broad and faint.

    The back half slopes down and outwards from the spine, the front half down and inwards across
    the ribs below.
    """
    origin = FIRST_VERTEBRA + (number - 1) * VERTEBRA_PITCH - 0.2
    drop = patient.rib_slope * min(1.4 + 0.35 * number, 4.2)
    level = np.array([origin + drop], np.float32)
    half_width = max(float(along_height(CAVITY_HALF_WIDTH, level)[0]) - 0.1, 5.6)

    turn = np.linspace(np.arcsin(1.3 / half_width), np.pi / 2, CURVE_POINTS)
    out = np.sin(turn)
    y = origin - 0.5 * np.sin(np.pi * out) + drop * (0.7 * out**2.2 + 0.3 * (1 - np.cos(turn)))
    back = np.column_stack([side * half_width * out, y])
    start = np.clip(np.linspace(0.3, 3.0, CURVE_POINTS), 0, 1) * (0.7 if number == 1 else 1.0)
    tube(bone, grid, back, (0.62, 0.72), 0.36 * start * edge_on(turn), 0.68)

    end = np.deg2rad(150 if number == 1 else 146 - 3.0 * number)
    turn = np.linspace(np.pi / 2, end, CURVE_POINTS)
    reach = patient.rib_slope * min(1.5 + 1.1 * number, 6.5)
    x = side * half_width * np.sin(turn) + patient.yaw * np.linspace(0, 1, CURVE_POINTS)
    front = np.column_stack([x, origin + drop - reach * np.cos(turn)])
    fade = np.clip(np.linspace(2.5, 0.0, CURVE_POINTS), 0, 1)  # into cartilage
    tube(bone, grid, front, (0.7, 0.85), 0.2 * fade * edge_on(turn), 0.78)


def edge_on(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much longer the beam runs in a rib that turns forwards at the side of the chest."""
    return np.clip(1 / np.maximum(np.abs(np.cos(turn)), 0.2), 1, 1.7)


def clavicle(bone: Field, grid: Grid, patient: Patient, side: int) -> None:
    """Adds a collar bone: an S from the sternum out and up to the shoulder."""
    high = patient.shoulder
    course = arc(
        (side * 1.6 + patient.yaw, -9.6), (side * 6, -10.6 - 0.3 * high),
        (side * 11, -11.4 - 0.8 * high), (side * 16, -11.6 - high),
    )  # fmt: skip
    tube(bone, grid, course, 0.62 + 0.25 * np.linspace(-1, 1, CURVE_POINTS) ** 2, 0.55, 0.7)


def scapula(bone: Field, grid: Grid, patient: Patient, side: int) -> None:
    """Adds a shoulder blade: its inner and outer border, its spine, and the thin plate between."""
    high = patient.shoulder
    tip = (side * 13.2, 2.5 - high)
    top, socket = (side * 10.0, -9.5 - high), (side * 16.5, -9.0 - high)
    inner = arc(top, (side * 11.2, -4.0 - high), tip)
    outer = arc(socket, (side * 14.6, -4.0 - high), tip)
    tube(bone, grid, inner, (0.25, 0.3), 0.35)
    tube(bone, grid, outer, (0.6, 0.35), 0.4)
    tube(bone, grid, arc((side * 10.3, -7.5 - high), (side * 17, -11 - high)),
         (0.4, 0.7), 0.3)  # fmt: skip
    tube(bone, grid, (inner + outer) / 2, (2.4, 0.6), 0.06)


def humerus(bone: Field, grid: Grid, patient: Patient, side: int) -> None:
    """Adds the head and shaft of the upper arm bone."""
    high = patient.shoulder
    shaft = arc((side * 18.3, -9.0 - high), (side * patient.arm, 18))
    tube(bone, grid, shaft, (1.15, 1.1), 0.5, 0.65)
    head = arc((side * 18.0, -9.8 - high), (side * 18.2, -9.2 - high))
    tube(bone, grid, head, (2.2, 2.1), 0.2)
