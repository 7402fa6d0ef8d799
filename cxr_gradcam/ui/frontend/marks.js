// What is drawn over the picture: lines of equal heat, padding, a lesion, the box, the crosshair.

const MARK = "#ffffff";
const SHADOW = "rgba(0, 0, 0, 0.65)";
const LESION = "#7CFFB2";
const HATCH_STEP = 9; // CSS pixels
const HATCH_ON_BLACK = "rgba(255, 255, 255, 0.42)";
const HATCH_ON_WHITE = "rgba(0, 0, 0, 0.42)";

function drawMarks({ decor, panel }, at, ratio, lines) {
  const { square, lesion } = settings;
  const outline = lesion && panel.lesion.length > 0;
  const cross = marks.point && !marks.point.hovered;
  const context = decor.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, decor.width, decor.height);
  // Without a GPU an empty canvas costs the browser as much as a full one to lay over the film.
  decor.hidden = !(square || lines || outline || marks.box || cross);
  context.lineJoin = context.lineCap = "round";
  if (square) hatchPadding(context, panel, at, ratio);
  if (lines) {
    context.save();
    clipTo(context, panel, at, worldOf(panel));
    stroke(context, lines, MARK, 1.2 * ratio, 2.6 * ratio);
    context.restore();
  }
  if (outline) stroke(context, lesionPath(panel, at), LESION, 1.8 * ratio, 3.6 * ratio);
  if (marks.box) drawBox(context, panel, at, ratio);
  if (cross) drawCross(context, panel, at, ratio);
}

/** A light line with a dark rim, so that it is seen on any ground. */
function stroke(context, path, colour, width, rim) {
  context.strokeStyle = SHADOW;
  context.lineWidth = rim;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

/** A rectangle in shares of the film as [x, y, width, height] in the viewport. */
function rectangle(panel, at, area) {
  const across = panel.width * at.scale;
  const down = panel.height * at.scale;
  return [
    at.left + area.left * across,
    at.top + area.top * down,
    (area.right - area.left) * across,
    (area.bottom - area.top) * down,
  ];
}

function clipTo(context, panel, at, area) {
  context.beginPath();
  context.rect(...rectangle(panel, at, area));
  context.clip();
}

/** Hatch the parts of the model's square where there is no film. */
function hatchPadding(context, panel, at, ratio) {
  const [x, y, width, height] = rectangle(panel, at, squareOf(panel));
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.rect(...rectangle(panel, at, WHOLE_FILM));
  context.clip("evenodd");
  const path = new Path2D();
  const step = HATCH_STEP * ratio;
  const left = Math.max(x, 0);
  const top = Math.max(y, 0);
  const side = Math.min(x + width, at.width) - left + Math.min(y + height, at.height) - top;
  for (let k = step; k < side; k += step) {
    path.moveTo(left + k, top);
    path.lineTo(left, top + k);
  }
  context.strokeStyle = settings.invert ? HATCH_ON_WHITE : HATCH_ON_BLACK;
  context.lineWidth = ratio;
  context.stroke(path);
  context.restore();
  const frame = new Path2D();
  frame.rect(...rectangle(panel, at, WHOLE_FILM));
  stroke(context, frame, MARK, ratio, 2 * ratio);
}

function lesionPath(panel, at) {
  const path = new Path2D();
  for (const line of panel.lesion) {
    for (let k = 0; k < line.length; k += 2) {
      // A pixel's number names its corner; the outline runs through the pixels' middles.
      const x = at.left + (line[k] + 0.5) * at.scale;
      const y = at.top + (line[k + 1] + 0.5) * at.scale;
      if (k === 0) path.moveTo(x, y);
      else path.lineTo(x, y);
    }
    path.closePath();
  }
  return path;
}

function drawBox(context, panel, at, ratio) {
  const path = new Path2D();
  path.rect(...rectangle(panel, at, marks.box));
  context.setLineDash([]);
  stroke(context, path, MARK, 1.5 * ratio, 3.2 * ratio);
}

function drawCross(context, panel, at, ratio) {
  const x = at.left + marks.point.x * panel.width * at.scale;
  const y = at.top + marks.point.y * panel.height * at.scale;
  const path = new Path2D();
  const [near, far] = [4 * ratio, 13 * ratio];
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + near * dx, y + near * dy);
    path.lineTo(x + far * dx, y + far * dy);
  }
  stroke(context, path, MARK, 1.5 * ratio, 3.2 * ratio);
}
