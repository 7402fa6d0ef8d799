// Lines of equal heat, by marching squares over a coarse grid of the viewport.

const CONTOUR_LEVELS = [0.25, 0.5, 0.75];
const CONTOUR_STEP = 3; // CSS pixels

// For each way in which the corners of a square (1 top left, 2 top right, 4 bottom right, 8 bottom
// left) can be above a level: the pairs of edges (0 top, 1 right, 2 bottom, 3 left) it crosses.
const CROSSED = [
  [], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2],
  [2, 3], [0, 2], [0, 1, 2, 3], [1, 2], [1, 3], [0, 1], [3, 0], [],
];

/** The lines of all levels as one path, in pixels of the viewport. */
function contourPath(heat, at, step) {
  const path = new Path2D();
  for (const level of CONTOUR_LEVELS) {
    for (let y = 0; y + step < at.height; y += step) {
      for (let x = 0; x + step < at.width; x += step) {
        crossSquare(path, heat, at.width, x, y, step, level * 65535);
      }
    }
  }
  return path;
}

function crossSquare(path, heat, width, x, y, step, level) {
  const i = y * width + x;
  const corners = [heat[i], heat[i + step], heat[i + step * width + step], heat[i + step * width]];
  let kind = 0;
  for (let k = 0; k < 4; k++) if (corners[k] > level) kind |= 1 << k;
  const edges = CROSSED[kind];
  for (let k = 0; k < edges.length; k += 2) {
    path.moveTo(...crossing(edges[k], corners, x, y, step, level));
    path.lineTo(...crossing(edges[k + 1], corners, x, y, step, level));
  }
}

/** Where the level crosses an edge of the square. */
function crossing(edge, [a, b, c, d], x, y, step, level) {
  const along = (from, to) => (step * (level - from)) / (to - from);
  const place = [
    () => [along(a, b), 0],
    () => [step, along(b, c)],
    () => [along(d, c), step],
    () => [0, along(a, d)],
  ][edge]();
  return [x + 0.5 + place[0], y + 0.5 + place[1]];
}
