// Where a panel's picture lies in its viewport.

/** The model's square in shares of the film, as the letterbox made it. */
function squareOf({ height, width, map }) {
  const side = Math.max(height, width);
  const box = map?.square ?? {
    size: side, top: (side - height) / 2, left: (side - width) / 2, height, width,
  };
  return {
    left: -box.left / box.width,
    top: -box.top / box.height,
    right: (box.size - box.left) / box.width,
    bottom: (box.size - box.top) / box.height,
  };
}

const WHOLE_FILM = { left: 0, top: 0, right: 1, bottom: 1 };

/** What can be seen: the film, or all that the model sees. In shares of the film. */
const worldOf = (panel) => (settings.square ? squareOf(panel) : WHOLE_FILM);

/**
 * Where the film lies in a viewport of width x height: pixel x of the viewport shows the film at
 * (x + 0.5 - left) / scale, in film pixels. `whole` puts its corner on a whole pixel, so that
 * nothing is resampled at scale 1.
 */
function placement(panel, width, height, whole) {
  const world = worldOf(panel);
  const worldWidth = (world.right - world.left) * panel.width;
  const worldHeight = (world.bottom - world.top) * panel.height;
  const fit = Math.min(width / worldWidth, height / worldHeight);
  let scale = fit * view.zoom;
  if (Math.abs(scale - 1) < 0.002) scale = 1;
  let left = corner(view.x, width, panel.width, worldWidth, world.left, scale);
  let top = corner(view.y, height, panel.height, worldHeight, world.top, scale);
  if (whole) {
    left = Math.round(left);
    top = Math.round(top);
  }
  return { width, height, fit, scale, left, top };
}

/** Centre what is smaller than the viewport; keep what is larger from leaving it. */
function corner(middle, viewport, side, world, start, scale) {
  const offset = start * side * scale;
  if (world * scale <= viewport) return (viewport - world * scale) / 2 - offset;
  return clamp(viewport / 2 - middle * side * scale, viewport - world * scale - offset, -offset);
}

/** Look so that the film's place (x, y), in shares, comes to lie at a point of the viewport. */
function lookAt(panel, zoom, place, point, width, height) {
  view.zoom = zoom;
  const { scale } = placement(panel, width, height, false);
  view.x = place.x + (width / 2 - point.x) / (panel.width * scale);
  view.y = place.y + (height / 2 - point.y) / (panel.height * scale);
  // What the edges do not allow is not remembered, or the way back would begin with nothing.
  const { left, top } = placement(panel, width, height, false);
  view.x = (width / 2 - left) / (panel.width * scale);
  view.y = (height / 2 - top) / (panel.height * scale);
  repaintMoving();
}

/** The film's place under a point of the viewport, in shares; `whole` as in `placement`. */
function placeUnder(panel, point, width, height, whole) {
  const { left, top, scale } = placement(panel, width, height, whole);
  return {
    x: (point.x - left) / scale / panel.width,
    y: (point.y - top) / scale / panel.height,
  };
}
