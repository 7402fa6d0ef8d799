// What all viewers of the page share, as long as the page lives: how to paint, and where to look.

const settings = {
  opacity: 0.45,
  threshold: 0,
  colormap: "turbo",
  heat: true,
  cells: false,
  contours: false,
  invert: false,
  square: false,
  lesion: true,
  tool: "pan",
};
// The middle of the viewport in shares of the film's width and height; zoom 1 fits the picture.
const view = { zoom: 1, x: 0.5, y: 0.5 };
// From which intensity to which the greys go, as radiologists say it: middle and extent.
const windowing = { level: 0.5, width: 1 };
// The place under the pointer and the box drawn, in shares of the film.
const marks = { point: null, box: null };

const TOOLS = ["pan", "window", "box", "value"];
const COLORMAPS = Object.keys(COLORMAP_TABLES);
const DEFAULT_COLORMAP = settings.colormap;
const REST = 160; // ms without a change after which a picture is painted at the screen's resolution
const viewers = new Set();
let frame = 0;
let resting = 0;
let hurried = false;

/** Paint everything that has changed, at the next frame and once at most. */
function repaint() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    for (const viewer of viewers) viewer.paint(hurried);
  });
}

/** Repaint something that goes on changing: fewer pixels now, all of them when it rests. */
function repaintMoving() {
  hurried = true;
  clearTimeout(resting);
  resting = setTimeout(() => {
    hurried = false;
    repaint();
  }, REST);
  repaint();
}

function change(changes) {
  Object.assign(settings, changes);
  if ("colormap" in changes) writeAddress();
  if ("square" in changes) for (const viewer of viewers) viewer.layout();
  for (const viewer of viewers) viewer.showSettings();
  repaintMoving();
}

function resetView() {
  Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
  Object.assign(windowing, { level: 0.5, width: 1 });
  marks.box = null;
  repaint();
}

/** Move the window; its middle stays in the film, its extent positive. */
function moveWindow(level, width) {
  windowing.level = clamp(level, 0, 1);
  windowing.width = clamp(width, 0.004, 2);
  repaintMoving();
}

/** The colours are part of a link that one sends: `?colormap=viridis`. */
function readAddress() {
  const named = new URLSearchParams(location.search).get("colormap");
  if (COLORMAPS.includes(named)) settings.colormap = named;
}

function writeAddress() {
  const address = new URL(location.href);
  const before = address.searchParams.get("colormap");
  const wanted = settings.colormap === DEFAULT_COLORMAP ? null : settings.colormap;
  if (before === wanted) return;
  if (wanted) address.searchParams.set("colormap", wanted);
  else address.searchParams.delete("colormap");
  history.replaceState(history.state, "", address);
}

readAddress();
