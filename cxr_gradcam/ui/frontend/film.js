// The films of the page, by digest: each arrives once and serves every panel that shows it.
//
// A film is {finest, levels}: levels[0] are its own pixels as 16 bits from 0 to 65535, levels[n] the
// same picture 2^n times smaller, averaged, for views that are zoomed out. A large film is preceded
// by a preview, which has no levels before its `finest` one.

const KEPT_FILMS = 4; // that no component holds any more, for the way back to an earlier one
const SMALLEST_SIDE = 64;
const films = new Map();

function placeOf(digest) {
  let place = films.get(digest);
  if (!place) {
    place = { film: null, begun: Infinity, holders: new Set() };
    films.set(digest, place);
  }
  return place;
}

/** Unpack a film or its preview unless it is here already; returns what to do when it goes. */
function keepFilm(bytes, holder) {
  const headLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headLength)));
  const place = placeOf(head.digest);
  place.holders.add(holder);
  if (head.level < place.begun) {
    place.begun = head.level;
    unpack(head, bytes.subarray(4 + headLength)).then((film) => {
      if (place.film?.finest < film.finest) return; // a preview that is late
      place.film = film;
      repaint();
    });
  }
  return () => {
    place.holders.delete(holder);
    dropFilms();
  };
}

function dropFilms() {
  const idle = [...films].filter(([, place]) => place.film && place.holders.size === 0);
  for (const [digest] of idle.slice(0, -KEPT_FILMS)) films.delete(digest);
}

async function unpack({ level, height, width, depth }, packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const pixels = depth === 1 ? fromBytes(planes, width) : fromWords(planes, width);
  return { finest: level, levels: [...Array(level), ...pyramid({ height, width, pixels })] };
}

/** Add up the steps from left to right; 8 bits are spread over 16, 255 becoming 65535. */
function fromBytes(steps, width) {
  const pixels = new Uint16Array(steps.length);
  for (let start = 0; start < steps.length; start += width) {
    let value = 0;
    for (let i = start; i < start + width; i++) {
      value = (value + steps[i]) & 255;
      pixels[i] = value * 257;
    }
  }
  return pixels;
}

function fromWords(planes, width) {
  const count = planes.length / 2;
  const pixels = new Uint16Array(count);
  for (let start = 0; start < count; start += width) {
    let value = 0;
    for (let i = start; i < start + width; i++) {
      value = (value + (planes[i] << 8) + planes[count + i]) & 65535;
      pixels[i] = value;
    }
  }
  return pixels;
}

function pyramid(full) {
  const levels = [full];
  let last = full;
  while (Math.min(last.height, last.width) > SMALLEST_SIDE) {
    last = halve(last);
    levels.push(last);
  }
  return levels;
}

/** Average 2 x 2 pixels; a last odd row or column counts twice. */
function halve({ height, width, pixels }) {
  const rows = (height + 1) >> 1;
  const columns = (width + 1) >> 1;
  const half = new Uint16Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    const upper = 2 * y * width;
    const lower = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < columns; x++) {
      const left = 2 * x;
      const right = Math.min(left + 1, width - 1);
      half[y * columns + x] =
        (pixels[upper + left] + pixels[upper + right] + pixels[lower + left] +
          pixels[lower + right] + 2) >> 2;
    }
  }
  return { height: rows, width: columns, pixels: half };
}
