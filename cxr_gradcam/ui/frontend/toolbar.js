// The buttons and sliders above the pictures. They show the settings and change them, no more.

class Toolbar {
  constructor(bar, viewer) {
    this.bar = bar;
    this.viewer = viewer;
    this.numbers = bar.querySelector(".numbers");
    for (const button of bar.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => change({ tool: button.dataset.tool }));
      button.addEventListener("keydown", (event) => this.stepTool(event));
    }
    for (const slide of bar.querySelectorAll("[data-slide]")) {
      slide.addEventListener("input", () =>
        change({ [slide.dataset.slide]: slide.valueAsNumber / 100 }),
      );
    }
    for (const button of bar.querySelectorAll("[data-switch]")) {
      button.addEventListener("click", () => toggle(button.dataset.switch));
    }
    this.fillColours(bar.querySelector("[data-pick]"));
    this.act("reset", () => resetView());
    this.act("full", () => viewer.toggleFull());
    this.act("help", () => viewer.toggleHelp());
    // Streamlit reruns the page on some letters; a slider or a button is no place for that.
    bar.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape" && viewer.escape()) event.preventDefault();
    });
  }

  act(name, action) {
    this.bar.querySelector(`[data-act="${name}"]`).addEventListener("click", action);
  }

  fillColours(select) {
    for (const name of COLORMAPS) {
      const label = name[0].toUpperCase() + name.slice(1);
      select.add(new Option(label, name));
    }
    select.addEventListener("change", () => change({ colormap: select.value }));
  }

  /** Arrow keys go from tool to tool, as in any group of radio buttons. */
  stepTool(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (TOOLS.indexOf(settings.tool) + step + TOOLS.length) % TOOLS.length;
    change({ tool: TOOLS[next] });
    this.bar.querySelector(`[data-tool="${TOOLS[next]}"]`).focus();
  }

  showSettings(hasLesion) {
    for (const button of this.bar.querySelectorAll("[data-tool]")) {
      const chosen = button.dataset.tool === settings.tool;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    for (const slide of this.bar.querySelectorAll("[data-slide]")) {
      slide.value = String(Math.round(100 * settings[slide.dataset.slide]));
      slide.style.setProperty("--share", percent(settings[slide.dataset.slide]));
      slide.nextElementSibling.textContent = percent(settings[slide.dataset.slide]);
    }
    for (const button of this.bar.querySelectorAll("[data-switch]")) {
      button.setAttribute("aria-pressed", String(settings[button.dataset.switch]));
    }
    this.bar.querySelector("[data-pick]").value = settings.colormap;
    this.bar.querySelector('[data-switch="lesion"]').hidden = !hasLesion;
  }

  showNumbers() {
    const zoom = `${view.zoom.toFixed(view.zoom < 10 ? 1 : 0)}×`;
    const text = `${zoom} · W ${windowing.width.toFixed(2)} L ${windowing.level.toFixed(2)}`;
    if (this.numbers.textContent !== text) this.numbers.textContent = text;
  }
}
