// From film and heat to colours, as `render.overlay` mixes them, within a grey level. What changes
// with the film's place or window is kept for each pixel; a slider of the heat changes a small table,
// so that a pixel then costs one look-up and one product.

const greyTable = { key: "", values: new Uint8Array(65536) };
const FINE = 16; // steps of heat from one colour of a map to the next
const HEATS = 255 * FINE + 1;
// For each step of heat: how much of the grey stays, then what comes on top of it in red, green and
// blue, and the half that rounds; all times 65536.
const coatTable = { key: "", values: new Int32Array(4 * HEATS) };

function greys() {
  const { level, width } = windowing;
  const key = `${level} ${width} ${settings.invert}`;
  if (greyTable.key === key) return greyTable.values;
  greyTable.key = key;
  const low = level - width / 2;
  for (let value = 0; value < 65536; value++) {
    const grey = Math.round(255 * clamp((value / 65535 - low) / width, 0, 1));
    greyTable.values[value] = settings.invert ? 255 - grey : grey;
  }
  return greyTable.values;
}

function coats() {
  const { opacity, threshold, colormap } = settings;
  const key = `${opacity} ${threshold} ${colormap}`;
  if (coatTable.key === key) return coatTable.values;
  coatTable.key = key;
  const table = bytesOf(COLORMAP_TABLES[colormap]);
  for (let heat = 0; heat < HEATS; heat++) {
    const paint = clamp((heat / (HEATS - 1) - threshold) / ONSET, 0, 1) * opacity;
    const colour = 3 * Math.round((heat + 0.5) / FINE);
    coatTable.values[4 * heat] = Math.round(65536 * (1 - paint));
    for (let k = 0; k < 3; k++) {
      coatTable.values[4 * heat + 1 + k] = Math.round(65536 * paint * table[colour + k]) + 32768;
    }
  }
  return coatTable.values;
}

/** The part of the viewport that shows a rectangle, given in shares of the film. */
function span(panel, at, area) {
  const across = panel.width * at.scale;
  const down = panel.height * at.scale;
  return {
    left: clamp(Math.ceil(at.left + area.left * across - 0.5), 0, at.width),
    right: clamp(Math.ceil(at.left + area.right * across - 0.5), 0, at.width),
    top: clamp(Math.ceil(at.top + area.top * down - 0.5), 0, at.height),
    bottom: clamp(Math.ceil(at.top + area.bottom * down - 0.5), 0, at.height),
  };
}

/** Which level of a film to read at a scale: the smallest that is not smaller than the view. */
function levelAt(film, scale) {
  return clamp(Math.floor(Math.log2(1 / scale) + 1e-9), film.finest, film.levels.length - 1);
}

/** Fill `grey`, Uint16 (height x width), with the film; 0, as the padding, beside it. */
function sampleFilm(grey, panel, film, at) {
  const number = levelAt(film, at.scale);
  const level = film.levels[number];
  const shrunk = 2 ** number;
  const area = span(panel, at, WHOLE_FILM);
  const xs = taps(area.left, area.right, at.left, at.scale * shrunk, level.width);
  const ys = taps(area.top, area.bottom, at.top, at.scale * shrunk, level.height);
  grey.fill(0);
  for (let y = area.top; y < area.bottom; y++) {
    const k = y - area.top;
    const upper = level.pixels.subarray(ys.lower[k] * level.width);
    const lower = level.pixels.subarray(ys.upper[k] * level.width);
    const target = grey.subarray(y * at.width + area.left, y * at.width + area.right);
    mixPixels(target, upper, lower, ys.share[k], xs);
  }
}

/** Which two pixels of the film each pixel of one side of the viewport lies between. */
function taps(from, to, corner, scale, side) {
  const count = to - from;
  const lower = new Int32Array(count);
  const upper = new Int32Array(count);
  const share = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const position = clamp((from + i + 0.5 - corner) / scale - 0.5, 0, side - 1);
    lower[i] = Math.floor(position);
    upper[i] = Math.min(lower[i] + 1, side - 1);
    share[i] = position - lower[i];
  }
  return { lower, upper, share };
}

function mixPixels(target, upper, lower, down, { lower: left, upper: right, share }) {
  if (down === 0) {
    for (let x = 0; x < target.length; x++) {
      const a = upper[left[x]];
      target[x] = a + (upper[right[x]] - a) * share[x] + 0.5;
    }
    return;
  }
  for (let x = 0; x < target.length; x++) {
    const i = left[x];
    const j = right[x];
    const a = upper[i] + (lower[i] - upper[i]) * down;
    const b = upper[j] + (lower[j] - upper[j]) * down;
    target[x] = a + (b - a) * share[x] + 0.5;
  }
}

/** Fill `both`, Int32 (height x width), with a pixel's grey and, above 8 bits, its step of heat. */
function join(both, grey, heat, at, area) {
  const shade = greys();
  for (let y = area.top; y < area.bottom; y++) {
    const end = y * at.width + area.right;
    for (let i = y * at.width + area.left; i < end; i++) {
      const step = heat ? ((FINE * heat[i]) / 257) | 0 : 0; // 65535 is 255 * 257
      both[i] = (step << 8) | shade[grey[i]];
    }
  }
}

/** Mix grey and heat into `pixels`, Uint32 (height x width) as a canvas stores them. */
function mix(pixels, both, at, area) {
  const coat = coats();
  pixels.fill(0);
  for (let y = area.top; y < area.bottom; y++) {
    const end = y * at.width + area.right;
    for (let i = y * at.width + area.left; i < end; i++) {
      const pair = both[i];
      const k = (pair >> 8) << 2;
      const kept = coat[k] * (pair & 255);
      pixels[i] =
        0xff000000 |
        ((kept + coat[k + 3]) & 0xff0000) |
        (((kept + coat[k + 2]) >> 8) & 0xff00) |
        ((kept + coat[k + 1]) >> 16);
    }
  }
}
