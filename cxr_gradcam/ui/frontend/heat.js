// The heat of a map, resampled as `preprocess.Letterbox.restore` does: every place of the film is
// followed into the model's square, and the cells are read there.

/**
 * Which two cells a place lies between, and how far from the first to the second.
 * `place` is in shares of the film; `content`, `offset` and `size` place the film in the square.
 */
function between(place, content, offset, size, cells, smooth) {
  const position = ((place * content + offset) * cells) / size;
  if (!smooth) return [clamp(Math.floor(position), 0, cells - 1), 0];
  const inside = clamp(position - 0.5, 0, cells - 1);
  const lower = Math.min(Math.floor(inside), Math.max(cells - 2, 0));
  return [lower, inside - lower];
}

/** `between` for every pixel of one side of the viewport. */
function axis(count, corner, scale, side, content, offset, size, cells, smooth) {
  const lower = new Int32Array(count);
  const share = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const place = (i + 0.5 - corner) / scale / side;
    [lower[i], share[i]] = between(place, content, offset, size, cells, smooth);
  }
  return { lower, share };
}

/** Fill `heat`, Uint16 (height x width), with 65535 where the map reaches the scale's top. */
function sampleHeat(heat, panel, at, smooth) {
  const { cam, square, top } = panel.map;
  const xs = axis(
    at.width, at.left, at.scale, panel.width, square.width, square.left, square.size, cam.width,
    smooth,
  );
  const ys = axis(
    at.height, at.top, at.scale, panel.height, square.height, square.top, square.size, cam.height,
    smooth,
  );
  const row = new Float64Array(cam.width + 1);
  const unit = 65535 / top;
  for (let y = 0, i = 0; y < at.height; y++) {
    mixRows(row, cam, ys.lower[y], ys.share[y], unit);
    for (let x = 0; x < at.width; x++, i++) {
      const lower = xs.lower[x];
      const value = row[lower] + (row[lower + 1] - row[lower]) * xs.share[x];
      heat[i] = value < 65535 ? value + 0.5 : 65535;
    }
  }
}

/** One row of the map between two rows of cells, with a last cell twice for the right edge. */
function mixRows(row, cam, lower, share, unit) {
  const upper = Math.min(lower + 1, cam.height - 1);
  for (let k = 0; k < cam.width; k++) {
    const above = cam.values[lower * cam.width + k];
    const below = cam.values[upper * cam.width + k];
    row[k] = (above * (1 - share) + below * share) * unit;
  }
  row[cam.width] = row[cam.width - 1];
}

/** The map's value at one place of the film, in the map's own unit. */
function heatAt(panel, place, smooth) {
  const { cam, square } = panel.map;
  const [x, right] = between(
    place.x, square.width, square.left, square.size, cam.width, smooth,
  );
  const [y, down] = between(
    place.y, square.height, square.top, square.size, cam.height, smooth,
  );
  const row = new Float64Array(cam.width + 1);
  mixRows(row, cam, y, down, 1);
  return row[x] + (row[x + 1] - row[x]) * right;
}
