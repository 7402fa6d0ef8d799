// What the pictures say at a place and in a box, in numbers.

/** Intensity and heat of the pixel at a place given in shares of the film. */
function readPlace(panel, film, place) {
  const x = Math.floor(place.x * panel.width);
  const y = Math.floor(place.y * panel.height);
  const inside = x >= 0 && y >= 0 && x < panel.width && y < panel.height;
  const world = worldOf(panel);
  const seen =
    place.x >= world.left && place.x < world.right &&
    place.y >= world.top && place.y < world.bottom;
  const centre = { x: (x + 0.5) / panel.width, y: (y + 0.5) / panel.height };
  return {
    x, y, inside, seen,
    intensity: inside && film?.finest === 0
      ? film.levels[0].pixels[y * panel.width + x] / 65535
      : null,
    heat: panel.map && seen ? heatAt(panel, centre, !settings.cells) : null,
  };
}

/** The box's share of the heat in sight, and its evidence in logits where that is known. */
function readBox(panel, box) {
  const { cam, evidence } = panel.map;
  const all = sumOver(panel, cam, worldOf(panel));
  return {
    share: all > 0 ? sumOver(panel, cam, meet(box, worldOf(panel))) / all : null,
    evidence: evidence && sumOver(panel, evidence, meet(box, worldOf(panel))),
  };
}

function meet(box, area) {
  return {
    left: clamp(box.left, area.left, area.right),
    right: clamp(box.right, area.left, area.right),
    top: clamp(box.top, area.top, area.bottom),
    bottom: clamp(box.bottom, area.top, area.bottom),
  };
}

/** The sum of a grid's cells, each by the share of its area that lies in the box. */
function sumOver({ map: { square } }, grid, box) {
  const across = overlaps(box.left, box.right, square.width, square.left, square.size, grid.width);
  const down = overlaps(box.top, box.bottom, square.height, square.top, square.size, grid.height);
  let sum = 0;
  for (let y = 0; y < grid.height; y++) {
    for (let x = 0; x < grid.width; x++) sum += grid.values[y * grid.width + x] * down[y] * across[x];
  }
  return sum;
}

/** For each cell of one side: the share of it between two places of the film. */
function overlaps(from, to, content, offset, size, cells) {
  const start = ((from * content + offset) * cells) / size;
  const end = ((to * content + offset) * cells) / size;
  return Array.from({ length: cells }, (_, k) =>
    Math.max(0, Math.min(end, k + 1) - Math.max(start, k)),
  );
}

/** What a panel says below its picture. */
function readingText(panel, film) {
  const parts = [];
  if (marks.point) parts.push(...placeWords(panel, readPlace(panel, film, marks.point)));
  if (marks.box) parts.push(...boxWords(panel));
  return parts.join(" · ");
}

function placeWords(panel, { x, y, inside, seen, intensity, heat }) {
  if (!seen) return [];
  const words = inside ? [`x ${x}, y ${y}`] : ["padding"];
  if (intensity !== null) words.push(`intensity ${intensity.toFixed(3)}`);
  if (heat !== null) {
    const share = panel.map.top > 0 ? ` (${percent(heat / panel.map.top)})` : "";
    words.push(`heat ${number(heat)} ${panel.map.unit}${share}`);
  }
  return words;
}

function boxWords(panel) {
  if (!panel.map) return [];
  const { share, evidence } = readBox(panel, marks.box);
  const words = [];
  if (share !== null) words.push(`box ${percent(share, 1)} of the heat`);
  if (evidence) words.push(`${signed(evidence)} logits of evidence`);
  if (evidence === 0) words.push("no evidence");
  return words;
}
