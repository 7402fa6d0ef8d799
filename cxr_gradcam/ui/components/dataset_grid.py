"""A grid of films, each a button that opens it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cxr_gradcam.reading import printable
from cxr_gradcam.survey.folder import Film, Folder
from cxr_gradcam.survey.results import NONE, Results
from cxr_gradcam.survey.thumbnails import Thumbnail
from cxr_gradcam.ui.components.dataset_state import Keys
from cxr_gradcam.words import class_label

_HTML = '<ul class="grid"></ul>'
_CSS = """
.grid { list-style: none; margin: 0; padding: 2px; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); }
button { all: unset; box-sizing: border-box; width: 100%; height: 100%;
  display: flex; flex-direction: column; cursor: pointer; border-radius: 6px; overflow: hidden;
  font-family: var(--st-font);
  color: var(--st-text-color); background: var(--st-secondary-background-color);
  border: 1px solid var(--st-border-color); transition: border-color .12s; }
button:hover { border-color: var(--st-primary-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
.film { display: block; width: 100%; aspect-ratio: 1; background: #000; position: relative; }
img { width: 100%; height: 100%; object-fit: contain; display: block; }
.why { position: absolute; inset: 0; padding: .6rem; color: #e4ecee; font-size: .78rem;
  line-height: 1.35; overflow: hidden; display: flex; align-items: center; text-align: center; }
.mark { position: absolute; left: .35rem; top: .35rem; padding: 0 .4rem; border-radius: 4px;
  font-size: .74rem; line-height: 1.55; background: #f7d774; color: #2b2205; }
.words { display: block; padding: .4rem .55rem .5rem; font-size: .82rem; line-height: 1.4; }
.words > span { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical;
  overflow: hidden; overflow-wrap: anywhere; }
.words > .said { opacity: .82; font-variant-numeric: tabular-nums; -webkit-line-clamp: 3; }
.words > .wrong { opacity: 1; font-weight: 600; }
.wrong::before { content: "✕ "; color: light-dark(#b3261e, #ff8a80); }
.right::before { content: "✓ "; }
@media (max-width: 640px) {
  .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem; } }
"""
# Elements are kept and only what changed is set, so that the focus survives a refresh.
_JS = """
const set = (element, property, value) => {
  if (element[property] !== value) element[property] = value;
};
const part = (parent, tag, name) => {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
};
const build = (grid) => {
  const button = part(part(grid, "li", ""), "button", "");
  button.type = "button";
  const film = part(button, "span", "film");
  const words = part(button, "span", "words");
  button.parts = { image: part(film, "img", ""), why: part(film, "span", "why"),
    mark: part(film, "span", "mark"), name: part(words, "span", "name"),
    said: part(words, "span", "said") };
  button.parts.name.setAttribute("aria-hidden", "true");  // the picture's alt text says it
  return button;
};
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  grid.setAttribute("aria-label", data.label);
  while (grid.children.length > data.films.length) grid.lastElementChild.remove();
  data.films.forEach((film, i) => {
    const button = grid.children[i]?.firstElementChild ?? build(grid);
    const { image, why, mark, name, said } = button.parts;
    set(image, "hidden", !film.src);
    if (film.src) set(image, "src", film.src);
    set(image, "alt", film.alt);
    set(why, "textContent", film.why);
    set(why, "hidden", !film.why);
    why.style.display = film.why ? "" : "none";
    set(mark, "textContent", film.mark);
    mark.style.display = film.mark ? "" : "none";
    set(name, "textContent", film.name);
    set(button, "title", film.title);
    set(said, "textContent", film.said);
    set(said, "className", `said ${film.verdict}`);
    button.onclick = () => setTriggerValue("film", { place: film.place, key: film.key });
  });
}
"""
_grid = st.components.v2.component("cxr_dataset_grid", html=_HTML, css=_CSS, js=_JS)


def film_grid(
    results: Results, places: Sequence[int], pictures: Sequence[Thumbnail]
) -> Film | None:
    """Draw films and return the one that was clicked just now.

    Args:
        results: what is known of the folder.
        places: which films, in order.
        pictures: what `Thumbnails.of` gave for them.
    """
    data = {
        "label": "Films of the dataset",
        "films": [
            _tile(results, place, picture) for place, picture in zip(places, pictures, strict=True)
        ],
    }
    clicked = _grid(key=Keys.GRID, data=data, on_film_change=lambda: None)
    return looked_up(results.folder, clicked.film)


def looked_up(folder: Folder, clicked: Any) -> Film | None:
    """Return the film that the browser names by place and key; None where there is none such.

    The key guards against a listing that has changed since the page was drawn.
    """
    films = folder.films
    if not isinstance(clicked, dict):
        return None
    place = clicked.get("place")
    if not isinstance(place, int) or not 0 <= place < len(films):
        return None
    return films[place] if printable(films[place].key) == clicked.get("key") else None


def _tile(results: Results, place: int, picture: Thumbnail) -> dict[str, Any]:
    film = results.folder.films[place]
    name = printable(film.name)
    said, verdict = _words(results, place)
    src = why = ""
    if isinstance(picture, bytes):
        src = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    else:
        why = printable(picture)
    return {
        "place": place,
        "key": printable(film.key),
        "name": name,
        "title": f"{name} · {class_label(film.label)}",
        "alt": f"Radiograph {name}, filed as {class_label(film.label)}",
        "src": src,
        "why": why,
        "mark": "unfamiliar" if results.familiar[place] == 0 else "",
        "said": said,
        "verdict": verdict,
    }


def _words(results: Results, place: int) -> tuple[str, str]:
    """Return what was said of a film, and whether that is "right", "wrong" or neither ("")."""
    film = results.folder.films[place]
    if film.key in results.errors:
        return "not readable", ""
    if results.called[place] == NONE:
        return "not evaluated", ""
    called = class_label(results.class_names[results.called[place]])
    words = f"{called} {results.confidence[place]:.0%}"
    if not results.scored[place]:
        return words, ""
    return words, "right" if results.right[place] else "wrong"
