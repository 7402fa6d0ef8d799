"""A small table of plain text, as wide as it needs to be and scrolled where there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    shades: Sequence[Sequence[float]] | None = None,
) -> None:
    """Draw a table. The first column names the rows.

    Args:
        caption: what it is.
        head: a name for each column.
        rows: plain text, escaped here.
        shades: how much colour each cell has, from 0 to 1; none by default.
    """
    kind = "cxr-table cxr-shaded" if shades else "cxr-table"
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f"<tr>{_row(row, shades[index] if shades else [0.0] * len(row))}</tr>"
        for index, row in enumerate(rows)
    )
    # Focusable, so that one can scroll it by keyboard where it is wider than the screen.
    st.html(
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str], shades: Sequence[float]) -> str:
    named = f'<th scope="row">{escape(cells[0])}</th>'
    return named + "".join(
        f'<td style="--shade: {shade:.0%}">{escape(cell)}</td>'
        for cell, shade in zip(cells[1:], shades[1:], strict=True)
    )
