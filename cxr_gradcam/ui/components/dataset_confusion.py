"""The confusion matrix, whose cells open their films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cxr_gradcam.ui.components.dataset_state import Keys, show_cell
from cxr_gradcam.words import class_label

_HTML = """<div class="around" tabindex="0" role="region"><table><caption class="hidden"></caption>
<colgroup></colgroup><thead></thead><tbody></tbody></table><p></p></div>"""
# A cell is at most two fifths the accent, so that the theme's own text is readable on every shade.
_CSS = """
.around { overflow-x: auto; font-family: var(--st-font); color: var(--st-text-color); }
.around:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 3px; width: 100%; table-layout: fixed;
  min-width: calc(7.4rem + var(--classes) * 3.9rem); font-variant-numeric: tabular-nums; }
col:first-child { width: 7.4rem; }
.hidden { position: absolute; clip-path: inset(50%); }
th { font-weight: 500; font-size: .85rem; line-height: 1.3; padding: .2rem; }
th > b { display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical;
  overflow: hidden; overflow-wrap: anywhere; hyphens: auto; font: inherit; }
.said { font-weight: 400; opacity: .8; padding: 0; }
tbody th { text-align: left; }
tbody th span { display: block; font-weight: 400; opacity: .8; }
tbody td { padding: 0; height: 3.9rem; }
button, .none { all: unset; box-sizing: border-box; width: 100%; height: 100%; display: flex;
  flex-direction: column; align-items: center; justify-content: center; border-radius: 5px;
  background: color-mix(in srgb, var(--st-primary-color) calc(var(--share) * 40%),
    var(--st-secondary-background-color)); }
button { cursor: pointer; }
button:hover { box-shadow: inset 0 0 0 2px var(--st-primary-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
td b { font-size: 1.05rem; font-weight: 500; }
.own b { font-weight: 700; }
.share { font-size: .78rem; }
p { font-size: .85rem; opacity: .8; margin: .3rem .2rem 0; }
"""
_JS = """
const part = (parent, tag, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
};
const heading = (row, name) => {
  const cell = part(row, "th");
  part(cell, "b", name);
  cell.title = name;  // as no more than three lines of it are shown
  return cell;
};
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".around");
  if (root.drawn === JSON.stringify(data)) return;  // so that the focus survives a refresh
  root.drawn = JSON.stringify(data);
  const focused = root.getRootNode().activeElement?.getAttribute("aria-label");
  const [head, body] = [root.querySelector("thead"), root.querySelector("tbody")];
  root.querySelector("caption").textContent = data.caption;
  root.querySelector("p").textContent = data.hint;
  root.setAttribute("aria-label", data.caption);
  root.style.setProperty("--classes", data.columns.length);
  root.querySelector("colgroup").replaceChildren(
    ...[null, ...data.columns].map(() => document.createElement("col")));
  head.replaceChildren();
  body.replaceChildren();
  const above = part(head, "tr");
  part(above, "td");
  const said = part(above, "th", data.said);
  [said.colSpan, said.scope, said.className] = [data.columns.length, "colgroup", "said"];
  const first = part(head, "tr");
  part(first, "td");
  data.columns.forEach((name) => { heading(first, name).scope = "col"; });
  data.rows.forEach((row, i) => {
    const line = part(body, "tr");
    const title = heading(line, row.name);
    title.scope = "row";
    part(title, "span", row.films);
    row.cells.forEach((cell, j) => {
      const inside = part(part(line, "td"), cell.count ? "button" : "div");
      inside.className = cell.count ? (i === j ? "own" : "") : "none";
      inside.style.setProperty("--share", cell.share);
      part(inside, "b", cell.shown);
      if (!cell.count) return;
      part(inside, "span", cell.percent).className = "share";
      inside.type = "button";
      inside.setAttribute("aria-label", cell.label);
      inside.onclick = () => setTriggerValue("cell", [i, j]);
      if (cell.label === focused) inside.focus();
    });
  });
}
"""
_matrix = st.components.v2.component("cxr_dataset_confusion", html=_HTML, css=_CSS, js=_JS)


def confusion(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> None:
    """Draw the matrix; a click on a cell lets the page show its films.

    Args:
        counts: (K, K), a row per true class, a column per class called.
        class_names: K names.
    """

    def choose() -> None:
        cell = st.session_state[Keys.CONFUSION].get("cell")
        if is_cell(cell, len(class_names)):
            show_cell(class_names[cell[0]], class_names[cell[1]])

    names = [class_label(name) for name in class_names]
    data = {
        "caption": "Confusion matrix",
        "said": "called",
        "hint": "A row for each class of the folder, shaded by its share of the row. Click a "
        "number to see its films.",
        "columns": names,
        "rows": [_row(name, row, names) for name, row in zip(names, counts, strict=True)],
    }
    _matrix(key=Keys.CONFUSION, data=data, on_cell_change=choose)


def films(count: int) -> str:
    """Return a number of films in words."""
    return f"{count:,} film{'' if count == 1 else 's'}"


def _row(name: str, counts: Sequence[int], called: Sequence[str]) -> dict[str, Any]:
    total = sum(counts)
    return {
        "name": name,
        "films": films(total),
        "cells": [
            {
                "count": count,
                "shown": f"{count:,}",
                "share": count / total if total else 0,
                "percent": f"{count / total:.1%}" if total else "",
                "label": f"{name} called {other}: {films(count)}",
            }
            for other, count in zip(called, counts, strict=True)
        ],
    }


def is_cell(cell: Any, classes: int) -> bool:
    """Tell whether what the browser sent is a row and a column."""
    return (
        isinstance(cell, list)
        and len(cell) == 2
        and all(isinstance(place, int) and 0 <= place < classes for place in cell)
    )
