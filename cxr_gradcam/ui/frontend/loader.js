// The viewer's component: all it does is wait for the program, which comes with the first film.
const KEY = Symbol.for("cxr_gradcam.viewer");

function program() {
  globalThis[KEY] ??= {};
  globalThis[KEY].ready ??= new Promise((resolve) => (globalThis[KEY].start = resolve));
  return globalThis[KEY].ready;
}

export default async function (component) {
  const { mount } = await program();
  return mount(component.parentElement, component.data);
}
