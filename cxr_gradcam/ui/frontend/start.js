// What the film's component starts: it brings the program for all viewers and keeps the film, if it
// comes with one. It comes without one beside the invitation to choose a film.

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

/** Show a page from its top: what follows the invitation is another page to who scrolled down it,
 * but the same one to Streamlit, which leaves it scrolled. */
function showFromTop() {
  document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}

export default function ({ data, parentElement }) {
  const leave = data ? keepFilm(data, parentElement) : showFromTop;
  return unlessOvertaken(parentElement, leave);
}
