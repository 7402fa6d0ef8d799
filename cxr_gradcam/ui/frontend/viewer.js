// A viewer: a toolbar and a grid of panels in one component of the page.

const TALLEST = 704; // CSS pixels
const TALL_SHARE = 0.66; // of the window's height
const SMALL_HEIGHT = 432;
const LEAST_IN_FULL = 160;
const seen = new Set(); // digests of the films that the present zoom and window were made for

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);
const pattern = document.createElement("div");
pattern.innerHTML = MARKUP;
const copyOf = (name) => pattern.querySelector(`#${name}`).content.firstElementChild.cloneNode(true);

const mounted = new WeakMap();

/** Start a viewer in a component, or give it new panels; returns what to do when it goes. */
function mountViewer(parent, data) {
  let viewer = mounted.get(parent);
  if (!viewer) {
    viewer = new Viewer(parent);
    mounted.set(parent, viewer);
  }
  viewer.enter();
  viewer.update(data);
  return () => viewer.leave();
}

class Viewer {
  constructor(parent) {
    parent.adoptedStyleSheets = [sheet];
    this.root = copyOf("viewer");
    this.grid = this.root.querySelector(".grid");
    this.help = this.root.querySelector(".help");
    this.toolbar = new Toolbar(this.root.querySelector(".bar"), this);
    this.panels = [];
    parent.append(this.root);
    this.relayout = () => this.layout();
    this.observer = new ResizeObserver(this.relayout);
    this.root.addEventListener("fullscreenchange", this.relayout);
  }

  enter() {
    viewers.add(this);
    this.observer.observe(this.root);
    addEventListener("resize", this.relayout);
  }

  /** Let go of what is large: Streamlit may keep a component that has left the page. */
  leave() {
    viewers.delete(this);
    this.observer.disconnect();
    removeEventListener("resize", this.relayout);
    for (const shown of this.panels) shown.release();
  }

  update({ panels, columns, tall, tools }) {
    this.tall = tall;
    this.root.classList.toggle("bare", !tools);
    this.root.classList.toggle("tall", tall);
    this.grid.style.setProperty("--columns", String(columns ?? panels.length));
    forgetOtherFilms(panels);
    while (this.panels.length > panels.length) this.panels.pop().figure.remove();
    while (this.panels.length < panels.length) this.panels.push(this.newPanel());
    panels.forEach((panel, k) => {
      this.panels[k].update(opened(panel));
      // Where there is room for fewer columns, a row still begins with a new class.
      this.panels[k].figure.style.gridColumnStart = columns && k % columns === 0 ? "1" : "";
    });
    writeAddress();
    this.layout();
    this.showSettings();
    repaint();
  }

  newPanel() {
    const shown = new PanelView(copyOf("panel"));
    new Gestures(shown);
    shown.stage.addEventListener("keydown", (event) => pressKey(event, shown, this));
    this.grid.append(shown.figure);
    return shown;
  }

  /** Make all stages as high as the tallest picture needs, within what the window allows. */
  layout() {
    const first = this.panels[0]?.stage.clientWidth;
    if (!first) return;
    this.levelCaptions();
    const shapes = this.panels.map(({ panel }) => {
      const world = worldOf(panel);
      const height = (world.bottom - world.top) * panel.height;
      return height / ((world.right - world.left) * panel.width);
    });
    const height = Math.min(first * Math.max(...shapes), this.tallest());
    for (const shown of this.panels) shown.resize(Math.round(height));
    repaint();
  }

  /** Give captions beside each other one height, so that the pictures below stand in line. */
  levelCaptions() {
    this.grid.style.removeProperty("--caption");
    if (getComputedStyle(this.grid).gridTemplateColumns.split(" ").length < 2) return;
    const captions = [...this.grid.querySelectorAll("figcaption")];
    const heights = captions.map((caption) => caption.offsetHeight);
    this.grid.style.setProperty("--caption", `${Math.max(...heights)}px`);
  }

  tallest() {
    const full = this.isFull ? this.tallestInFull() : 0;
    if (full >= LEAST_IN_FULL) return full; // else one scrolls
    return this.tall ? Math.min(TALL_SHARE * innerHeight, TALLEST) : SMALL_HEIGHT;
  }

  /** How high a stage may be for all rows to fit on the screen. */
  tallestInFull() {
    const { clientHeight, scrollTop } = this.root;
    const stage = this.panels[0].stage.clientHeight;
    const rows = getComputedStyle(this.grid).gridTemplateRows.split(" ").length;
    const padding = parseFloat(getComputedStyle(this.root).paddingBottom);
    const top = this.root.getBoundingClientRect().top - scrollTop;
    const whole = this.grid.getBoundingClientRect().bottom - top + padding;
    return Math.floor((clientHeight - (whole - rows * stage)) / rows);
  }

  showSettings() {
    const hasLesion = this.panels.some(({ panel }) => panel.lesion.length > 0);
    this.toolbar.showSettings(hasLesion);
    for (const shown of this.panels) if (shown.hot) shown.showColours();
  }

  paint(hurried) {
    this.toolbar.showNumbers();
    for (const shown of this.panels) shown.paint(hurried);
  }

  get isFull() {
    return this.root.matches(":fullscreen") || this.root.classList.contains("covering");
  }

  toggleFull() {
    if (this.root.matches(":fullscreen")) document.exitFullscreen();
    else if (this.root.requestFullscreen) this.root.requestFullscreen();
    else this.root.classList.toggle("covering"); // a telephone that has no full screen for this
    this.layout();
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    const button = this.root.querySelector('[data-act="help"]');
    button.setAttribute("aria-expanded", String(!this.help.hidden));
  }

  /** Close what is open; false when nothing was. */
  escape() {
    if (!this.help.hidden) this.toggleHelp();
    else if (this.root.classList.contains("covering")) this.toggleFull();
    else if (marks.box || marks.point) {
      marks.box = marks.point = null;
      repaint();
    } else return false;
    return true;
  }
}

/** A panel as the server describes it, its grids opened. */
function opened(panel) {
  if (!panel.map) return panel;
  const { cam, evidence } = panel.map;
  return {
    ...panel,
    map: { ...panel.map, cam: gridOf(cam), evidence: evidence && gridOf(evidence) },
  };
}

/** Zoom and window belong to a film: other films are looked at afresh. */
function forgetOtherFilms(panels) {
  const digests = panels.map(({ film }) => film);
  if (!digests.some((digest) => seen.has(digest))) {
    if (seen.size) resetView();
    seen.clear();
  }
  for (const digest of digests) seen.add(digest);
}
