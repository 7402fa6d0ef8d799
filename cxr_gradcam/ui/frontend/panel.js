// One picture: its canvases, its colour bar and the line that says what is under the pointer.

const TICKS = [0, 0.25, 0.5, 0.75, 1];

class PanelView {
  constructor(figure) {
    this.figure = figure;
    const find = (name) => figure.querySelector(`.${name}`);
    this.stage = find("stage");
    this.canvas = find("film");
    this.decor = find("marks");
    this.reading = find("reading");
    this.done = {};
    this.size = { width: 0, height: 0, ratio: 1 };
  }

  /** Take over what the server says of the panel; paint when its film is here. */
  update(panel) {
    this.panel = panel;
    this.done = {};
    this.figure.querySelector(".title").textContent = panel.title;
    this.figure.querySelector(".subtitle").textContent = panel.subtitle;
    const named = [panel.title, panel.subtitle].filter(Boolean);
    this.stage.setAttribute("aria-label", named.join(", "));
    this.canvas.setAttribute("aria-label", panel.alt);
    this.showScale();
  }

  /** The film, or the preview of it that is here already, or null. */
  get film() {
    return placeOf(this.panel.film).film;
  }

  get hot() {
    return this.panel.map !== null && this.panel.map.top > 0;
  }

  showScale() {
    const { map } = this.panel;
    this.figure.querySelector(".scale").hidden = !this.hot;
    const note = this.figure.querySelector(".note");
    note.textContent = map && !this.hot ? map.nothing : "";
    note.hidden = !map;
    if (!this.hot) return;
    const unit = document.createElement("b");
    unit.textContent = map.unit;
    const peak = map.peak < 0.995 * map.top ? `\u00a0· peak\u00a0${number(map.peak)}` : "";
    note.replaceChildren(unit, `${map.note ? `\u00a0· ${map.note}` : ""}${peak}`);
    const ticks = TICKS.map((share) => {
      const tick = document.createElement("span");
      tick.textContent = number(share * map.top);
      return tick;
    });
    this.figure.querySelector(".ticks").replaceChildren(...ticks);
    const ramp = this.figure.querySelector(".ramp");
    ramp.setAttribute("aria-label", `Colours from 0 to ${number(map.top)} ${map.unit}`);
    this.showColours();
  }

  showColours() {
    const bar = this.figure.querySelector(".ramp div");
    bar.style.backgroundImage = gradientOf(settings.colormap);
    bar.style.clipPath = `inset(0 0 0 ${percent(settings.threshold)})`;
  }

  /** Give the stage its height and the canvases their size on the screen. */
  resize(height) {
    this.stage.style.height = `${height}px`;
    const { clientWidth, clientHeight } = this.stage;
    this.size = { width: clientWidth, height: clientHeight, ratio: devicePixelRatio || 1 };
  }

  /** Whether any of it can be seen. */
  get isOnScreen() {
    const { top, bottom, left, right } = this.stage.getBoundingClientRect();
    return bottom > 0 && top < innerHeight && right > 0 && left < innerWidth;
  }

  /** Paint what has changed since the last time; what is out of sight can wait for a rest. */
  paint(hurried) {
    if (hurried && !this.isOnScreen) return;
    const ratio = hurried ? Math.min(1, this.size.ratio) : this.size.ratio;
    const width = Math.floor(this.size.width * ratio);
    const height = Math.floor(this.size.height * ratio);
    if (!width || !height) return;
    const at = placement(this.panel, width, height, true);
    if (this.film) {
      this.paintFilm(at, ratio);
      this.paintMarks(at, ratio);
    }
    this.reading.textContent = readingText(this.panel, this.film);
    this.stage.style.touchAction = settings.tool === "pan" && view.zoom <= 1 ? "pan-y" : "none";
    this.stage.dataset.tool = settings.tool;
  }

  /** Let a screen reader say the numbers or not: those under a moving pointer would be noise. */
  speak(aloud) {
    this.reading.setAttribute("aria-live", aloud ? "polite" : "off");
  }

  /** Give back the memory of the canvases, until they are painted again. */
  release() {
    for (const canvas of [this.canvas, this.decor]) canvas.width = canvas.height = 0;
    this.image = this.pixels = this.grey = this.heat = this.both = this.path = null;
    this.done = {};
  }

  /** Run a step of the painting unless its input is what it was the last time. */
  when(step, key, action) {
    if (this.done[step] === key) return false;
    this.done[step] = key;
    action();
    return true;
  }

  paintFilm(at, ratio) {
    const area = span(this.panel, at, worldOf(this.panel));
    const place = [at.width, at.height, at.scale, at.left, at.top].join(" ");
    this.when("size", `${at.width} ${at.height} ${ratio}`, () => this.allocate(at, ratio));
    const level = levelAt(this.film, at.scale);
    this.when("grey", `${place} ${level}`, () => sampleFilm(this.grey, this.panel, this.film, at));
    const heat = this.hot && (settings.heat || settings.contours);
    if (heat) {
      this.when("heat", `${place} ${settings.cells}`, () =>
        sampleHeat(this.heat, this.panel, at, !settings.cells),
      );
    }
    const { opacity, threshold, colormap, cells, invert, square } = settings;
    const coated = this.hot && settings.heat;
    const shades = [windowing.level, windowing.width, invert];
    const joined = [place, level, ...shades, square, coated && `cells ${cells}`].join(" ");
    this.when("both", joined, () => {
      join(this.both, this.grey, coated ? this.heat : null, at, area);
    });
    this.when("mix", [joined, ...(coated ? [opacity, threshold, colormap] : [])].join(" "), () => {
      mix(this.pixels, this.both, at, area);
      this.context.putImageData(this.image, 0, 0);
      Object.assign(this.canvas.dataset, { scale: at.scale, left: at.left, top: at.top });
    });
  }

  allocate({ width, height }, ratio) {
    for (const canvas of [this.canvas, this.decor]) {
      canvas.width = width;
      canvas.height = height;
      canvas.style.width = `${width / ratio}px`;
      canvas.style.height = `${height / ratio}px`;
    }
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.grey = new Uint16Array(width * height);
    this.heat = this.hot ? new Uint16Array(width * height) : null;
    this.both = new Int32Array(width * height);
    this.done = { size: this.done.size };
  }

  paintMarks(at, ratio) {
    const { contours, cells, lesion, square, invert, tool } = settings;
    const place = [at.width, at.height, at.scale, at.left, at.top].join(" ");
    const lines = contours && this.hot;
    if (lines) {
      this.when("contours", `${place} ${cells}`, () => {
        this.path = contourPath(this.heat, at, Math.max(1, Math.round(CONTOUR_STEP * ratio)));
      });
    }
    const point = marks.point && `${marks.point.x} ${marks.point.y} ${marks.point.hovered}`;
    const box = marks.box && Object.values(marks.box).join(" ");
    const key = [place, lines, cells, lesion, square, invert, tool, point, box].join("|");
    this.when("marks", key, () => drawMarks(this, at, ratio, lines ? this.path : null));
  }
}

const gradients = new Map();

/** A colour map as a CSS gradient. */
function gradientOf(colormap) {
  if (!gradients.has(colormap)) {
    const table = bytesOf(COLORMAP_TABLES[colormap]);
    const stops = Array.from({ length: 32 }, (_, k) => {
      const at = 3 * Math.round((k * 255) / 31);
      return `rgb(${table[at]}, ${table[at + 1]}, ${table[at + 2]})`;
    });
    gradients.set(colormap, `linear-gradient(90deg, ${stops.join(", ")})`);
  }
  return gradients.get(colormap);
}
