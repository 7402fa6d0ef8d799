// The keys of a picture that has the focus.

const PAN_STEP = 40; // CSS pixels
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const middleOf = ({ size }) => ({ x: size.width / 2, y: size.height / 2 });

const KEYS = {
  "+": (shown) => zoomBy(shown, 1.25, middleOf(shown)),
  "=": (shown) => zoomBy(shown, 1.25, middleOf(shown)),
  "-": (shown) => zoomBy(shown, 0.8, middleOf(shown)),
  0: () => resetView(),
  1: (shown) => showFilmPixels(shown),
  p: () => change({ tool: "pan" }),
  w: () => change({ tool: "window" }),
  b: () => change({ tool: "box" }),
  v: () => change({ tool: "value" }),
  "[": () => change({ opacity: stepped(settings.opacity, -0.05) }),
  "]": () => change({ opacity: stepped(settings.opacity, 0.05) }),
  ",": () => change({ threshold: stepped(settings.threshold, -0.05) }),
  ".": () => change({ threshold: stepped(settings.threshold, 0.05) }),
  c: () => change({ colormap: nextOf(COLORMAPS, settings.colormap) }),
  h: () => toggle("heat"),
  n: () => toggle("cells"),
  k: () => toggle("contours"),
  i: () => toggle("invert"),
  m: () => toggle("square"),
  l: () => toggle("lesion"),
};

const toggle = (name) => change({ [name]: !settings[name] });
const stepped = (value, step) => clamp(Math.round(100 * (value + step)) / 100, 0, 1);
const nextOf = (list, item) => list[(list.indexOf(item) + 1) % list.length];

/** One pixel of the film for one of the screen. */
function showFilmPixels(shown) {
  const { width, height, ratio } = shown.size;
  const { fit } = placement(shown.panel, width, height, false);
  const middle = middleOf(shown);
  const place = placeUnder(shown.panel, middle, width, height, true);
  lookAt(shown.panel, 1 / ratio / fit, place, middle, width, height);
}

/** Obey a key. */
function pressKey(event, shown, viewer) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Streamlit reruns the page on some letters: whoever types here does not mean that.
  if (event.key.length === 1) event.stopPropagation();
  const obeyed = ARROWS[name]
    ? pressArrow(ARROWS[name], event.shiftKey, shown)
    : pressLetter(name, shown, viewer);
  if (!obeyed) return;
  event.preventDefault();
  event.stopPropagation();
}

function pressLetter(name, shown, viewer) {
  if (name === "f") viewer.toggleFull();
  else if (name === "?") viewer.toggleHelp();
  else if (name === "Escape") return viewer.escape();
  else if (KEYS[name]) KEYS[name](shown);
  else return false;
  return true;
}

function pressArrow([right, down], far, shown) {
  const times = far ? 5 : 1;
  if (settings.tool === "pan") panBy(shown, -right * PAN_STEP * times, -down * PAN_STEP * times);
  if (settings.tool === "window") {
    const step = 0.01 * times;
    moveWindow(windowing.level + down * step, windowing.width + right * step);
  }
  if (settings.tool === "value") movePoint(shown, right * times, down * times);
  if (settings.tool === "box") moveBox(shown, right, down, far);
  return true;
}

/** Move the crosshair by pixels of the film, from the middle at first. */
function movePoint(shown, right, down) {
  const { panel } = shown;
  const from = marks.point ?? { x: view.x, y: view.y };
  const world = worldOf(panel);
  const step = Math.max(1, Math.round(panel.width / 512));
  const along = (value, side, steps) => (Math.floor(value * side) + 0.5 + steps * step) / side;
  marks.point = {
    x: clamp(along(from.x, panel.width, right), world.left, world.right - 0.5 / panel.width),
    y: clamp(along(from.y, panel.height, down), world.top, world.bottom - 0.5 / panel.height),
    hovered: false,
  };
  shown.speak(true);
  repaint();
}

/** Move the box by 1/50 of the film, or with `size` its right and lower edge. */
function moveBox(shown, right, down, size) {
  const world = worldOf(shown.panel);
  const box = marks.box ?? { left: 0.4, right: 0.6, top: 0.4, bottom: 0.6 };
  const [dx, dy] = marks.box ? [right / 50, down / 50] : [0, 0];
  const moved = {
    left: box.left + (size ? 0 : dx), right: Math.max(box.left + 0.01, box.right + dx),
    top: box.top + (size ? 0 : dy), bottom: Math.max(box.top + 0.01, box.bottom + dy),
  };
  const fits =
    moved.left >= world.left - 1e-9 && moved.right <= world.right + 1e-9 &&
    moved.top >= world.top - 1e-9 && moved.bottom <= world.bottom + 1e-9;
  if (fits) marks.box = moved;
  shown.speak(true);
  repaint();
}
