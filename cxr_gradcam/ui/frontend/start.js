// What the film's component starts: it keeps the film, if it comes with one, and brings the program
// for all viewers.

const PROGRAM = Symbol.for("cxr_gradcam.viewer");

function publish() {
  const place = (globalThis[PROGRAM] ??= {});
  place.ready ??= new Promise((resolve) => (place.start = resolve));
  place.start({ mount: mountViewer });
}

publish();

export default function (component) {
  if (component.data) return keepFilm(component.data, component.parentElement);
}
