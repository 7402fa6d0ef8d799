// What the film's component starts: it keeps the film, if it comes with one, and brings the program
// for all viewers.

const PROGRAM = Symbol.for("cxr_gradcam.viewer");

const latest = new WeakMap(); // a component's element -> its latest mount

/** What to do when a mount goes. Streamlit lets one go, too, that a newer one has overtaken: what
 * they share is the newer one's by then. */
function unlessOvertaken(parent, leave) {
  const mount = {};
  latest.set(parent, mount);
  return () => {
    if (latest.get(parent) === mount) leave();
  };
}

function publish() {
  const place = (globalThis[PROGRAM] ??= {});
  place.ready ??= new Promise((resolve) => (place.start = resolve));
  place.start({
    mount: (parent, data) => unlessOvertaken(parent, mountViewer(parent, data)),
  });
}

publish();

export default function ({ data, parentElement }) {
  if (data) return unlessOvertaken(parentElement, keepFilm(data, parentElement));
}
