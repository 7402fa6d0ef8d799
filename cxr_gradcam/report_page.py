"""The frame of a report: one HTML file that needs nothing else, on a screen or on A4 paper.

Well-formed as XML too, so that a strict parser can read it. No script, no address of any other
machine, and a content policy that forbids both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from cxr_gradcam.render import DISCLAIMER

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
:root { --ink: #17262c; --soft: #50626a; --line: #d5dee1; --panel: #f3f6f7; --paper: #fff;
  --accent: #0b6e7f; --warn: #8a4b00; --warn-panel: #fff4e2; color-scheme: light; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4ecee; --soft: #a3b3b9; --line: #2e3b41; --panel: #182125; --paper: #0e1417;
    --accent: #4cc3d4; --warn: #ffc46b; --warn-panel: #2c2313; color-scheme: dark; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 2.5rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; font-weight: 600; }
h1 { font-size: 1.7rem; margin: 1.2rem 0 .3rem; }
h2 { font-size: 1.3rem; margin: 0 0 .2rem; }
nav h2, h1 ~ h2 { margin-top: 1.6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; }
a { color: var(--accent); }
.disclaimer { margin: 0; padding: .5rem .8rem; border-left: 4px solid var(--accent);
  background: var(--panel); font-weight: 600; }
.soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
.warning { padding: .6rem .8rem; border-left: 4px solid var(--warn); background: var(--warn-panel);
  margin: .8rem 0; }
.said { font-size: 1.15rem; margin: .9rem 0 .2rem; }
section { margin-top: 2.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
.caption { color: var(--soft); font-size: .85rem; margin: .6rem 0 .35rem; }
th, td { padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: baseline; }
thead th { font-weight: 500; color: var(--soft); vertical-align: bottom; }
th:first-child, .texts :is(th, td) { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
tbody th { font-weight: 500; overflow-wrap: anywhere; }
.texts tbody :is(th, td) { overflow-wrap: anywhere; }
.top th, .top td { font-weight: 700; }
.pictures { display: grid; gap: 1rem; margin-top: .6rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; background: #000; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: .8rem;
  font-size: .9rem; margin-top: .25rem; font-variant-numeric: tabular-nums; }
figcaption b { font-weight: 600; min-width: 0; overflow-wrap: anywhere; }
.pictures > .bar { align-self: end; }
.bar { margin-top: .4rem; }
.bar img { display: block; width: 100%; height: .8rem; border: 1px solid var(--line);
  border-radius: 3px; background: none; }
.ticks { display: flex; justify-content: space-between; font-size: .8rem;
  font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: minmax(7rem, 11rem) 1fr; gap: .3rem 1.2rem; margin: 0;
  font-size: .92rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) { .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; } }
@page { size: A4; margin: 14mm; }
@media print {
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; line-height: 1.4; }
  h3 { margin-top: 1.1rem; }
  section.film { break-before: page; border-top: 0; margin: 0; padding: 0; }
  section.first { break-before: auto; margin-top: 1rem; }
  nav ~ section.first { break-before: page; margin: 0; }
  figure > img { max-height: 56mm; object-fit: contain; }
  .pictures { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .7rem; }
  figure, .scroll, dl, .disclaimer, .warning { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .disclaimer, .warning, img { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; }
  a { color: inherit; text-decoration: none; }
}
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page with the disclaimer at its top and bottom.

    Args:
        title: plain text.
        body: HTML, part by part.
    """
    disclaimer = f'<p class="disclaimer">{escape(DISCLAIMER)}</p>'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8"/>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{escape(title)}</title>",
            f"<style>{_CSS}</style>",
            "</head>",
            "<body>",
            f"<header>{disclaimer}</header>",
            "<main>",
            *body,
            "</main>",
            f"<footer><section>{disclaimer}</section></footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    marked: int | None = None,
    kind: str = "",
) -> str:
    """Return a table; a row's first cell is its heading.

    Args:
        caption: what the table shows; plain text.
        columns: their headings; plain text.
        rows: the cells as HTML, escaped already where they hold text from outside.
        marked: number of a row to stand out.
        kind: a CSS class: "texts" where cells hold words rather than numbers.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = []
    for number, (first, *rest) in enumerate(rows):
        cells = f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr class="top">{cells}</tr>' if number == marked else f"<tr>{cells}</tr>")
    return (
        # Above what scrolls: a caption is as wide as its table. Who has no mouse can scroll it too.
        f'<p class="caption">{escape(caption)}</p>'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def pairs(values: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values; plain text."""
    lines = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values)
    return f"<dl>{''.join(lines)}</dl>"


def figure(uri: str, alt: str, title: str, aside: str = "", below: str = "") -> str:
    """Return a picture with its caption.

    Args:
        uri: the picture.
        alt: what it shows, for those who cannot see it; plain text.
        title: plain text.
        aside: plain text at the end of the title's line.
        below: HTML under the caption.
    """
    return (
        f'<figure><img src="{uri}" alt="{escape(alt)}"/>'
        f"<figcaption><b>{escape(title)}</b><span>{escape(aside)}</span></figcaption>"
        f"{below}</figure>"
    )


def note(text: str, kind: str = "soft") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'
