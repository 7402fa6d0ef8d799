// Mouse, pen and fingers on a picture.

const ZOOM_SPEED = 0.0016; // per unit of the wheel
const LARGEST_PIXEL = 32; // CSS pixels for one of the film, at the highest zoom
const LEAST_BOX = 4; // CSS pixels; a smaller one was a click

/** Zoom a panel by a factor around a point of its viewport. */
function zoomBy(shown, factor, point) {
  const { width, height } = shown.size;
  const { fit } = placement(shown.panel, width, height, false);
  const lowest = Math.min(1, view.zoom);
  const zoom = clamp(view.zoom * factor, lowest, Math.max(8, LARGEST_PIXEL / fit));
  const place = placeUnder(shown.panel, point, width, height, true);
  lookAt(shown.panel, zoom, place, point, width, height);
}

/** Move a panel's picture by so many CSS pixels. */
function panBy(shown, dx, dy) {
  const { width, height } = shown.size;
  const middle = { x: width / 2, y: height / 2 };
  const from = { x: middle.x - dx, y: middle.y - dy };
  // Not from the corner as painted, or its rounding would add up over a drag of many small steps.
  const place = placeUnder(shown.panel, from, width, height, false);
  lookAt(shown.panel, view.zoom, place, middle, width, height);
}

class Gestures {
  constructor(shown) {
    this.shown = shown;
    this.pointers = new Map();
    const { stage } = shown;
    const on = (name, action) => stage.addEventListener(name, action, { passive: false });
    on("wheel", (event) => this.wheel(event));
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    on("pointerleave", () => this.leave());
    on("dblclick", () => resetView());
    on("contextmenu", (event) => event.preventDefault());
  }

  point(event) {
    const area = this.shown.stage.getBoundingClientRect();
    return { x: event.clientX - area.left, y: event.clientY - area.top };
  }

  place(point) {
    const { width, height } = this.shown.size;
    return placeUnder(this.shown.panel, point, width, height, true);
  }

  wheel(event) {
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (event.deltaY > 0 && view.zoom <= 1) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    zoomBy(this.shown, Math.exp(-event.deltaY * lines * ZOOM_SPEED), this.point(event));
  }

  down(event) {
    const point = this.point(event);
    this.shown.stage.focus({ preventScroll: true });
    this.shown.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, point);
    this.button = event.button;
    if (this.action() === "box") this.start = point;
    this.hover(event, point);
  }

  action() {
    if (this.pointers.size === 2) return "pinch";
    return { 0: settings.tool, 1: "pan", 2: "window" }[this.button] ?? "none";
  }

  move(event) {
    const point = this.point(event);
    const before = this.pointers.get(event.pointerId);
    if (before) {
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
      this.drag(this.action(), before, point, others[0]?.[1]);
      this.pointers.set(event.pointerId, point);
    }
    this.hover(event, point);
  }

  drag(action, before, point, other) {
    const [dx, dy] = [point.x - before.x, point.y - before.y];
    if (action === "pan") panBy(this.shown, dx, dy);
    if (action === "window") {
      const speed = 1.5 / this.shown.size.width;
      moveWindow(windowing.level + dy * speed, windowing.width + dx * speed);
    }
    if (action === "box" && this.start) this.drawBox(point);
    if (action === "pinch") {
      const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
      zoomBy(this.shown, apart(point) / apart(before), middle);
      panBy(this.shown, dx / 2, dy / 2);
    }
  }

  drawBox(point) {
    if (Math.hypot(point.x - this.start.x, point.y - this.start.y) < LEAST_BOX) return;
    const [from, to] = [this.place(this.start), this.place(point)];
    const box = {
      left: Math.min(from.x, to.x), right: Math.max(from.x, to.x),
      top: Math.min(from.y, to.y), bottom: Math.max(from.y, to.y),
    };
    marks.box = meet(box, worldOf(this.shown.panel));
  }

  up(event) {
    const point = this.point(event);
    const far = this.start && Math.hypot(point.x - this.start.x, point.y - this.start.y);
    if (this.start && far < LEAST_BOX) marks.box = null;
    this.start = null;
    this.pointers.delete(event.pointerId);
    repaint();
  }

  hover(event, point) {
    marks.point = { ...this.place(point), hovered: event.currentTarget === this.shown.stage };
    this.shown.speak(false);
    repaint();
  }

  leave() {
    if (this.pointers.size) return;
    marks.point = null;
    repaint();
  }
}
