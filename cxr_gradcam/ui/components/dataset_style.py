"""The dataset page's own CSS, and the theme's colours for pictures that CSS cannot reach."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

CSS = """
div:has(> [class*="st-key-dataset_off_"]) { display: none; }
.st-key-dataset_progress { row-gap: .5rem; }
.st-key-dataset_progress > div:first-child { flex: 1 1 14rem; min-width: 0; }
.st-key-dataset_choices > div { flex: 1 1 9rem; min-width: 8rem; }
.st-key-dataset_choices > div:last-child { flex: 1.4 1 12rem; padding-right: .6rem; }
.st-key-dataset_pages > div:first-child { flex: 0 1 auto; width: auto; }
.st-key-dataset_pages > div:has(> .st-key-dataset_turn), .st-key-dataset_turn {
  margin-left: auto; }
.st-key-dataset_figures { row-gap: 1rem; }
.st-key-dataset_figures > div { flex: 1 1 24rem; min-width: 0; }
.st-key-dataset_figures > div:last-child { flex-basis: 31rem; }
.cxr-reliability { display: block; width: 100%; min-width: 36rem; max-width: 58rem; }
[class*="st-key-dataset_mean"] > div { flex: 1 1 13rem; min-width: 0; max-width: 24rem; }
[class*="st-key-dataset_mean"] img { display: block; border-radius: 6px; background: #000; }
.st-key-dataset_sheet img { border-radius: 6px; }
.cxr-numbers { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: .5rem 0 .6rem; }
.cxr-value { font-size: 1.7rem; font-weight: 600; line-height: 1.25; margin: 0;
  font-variant-numeric: tabular-nums; }
.cxr-scroll { overflow-x: auto; }
.cxr-scores { border-collapse: collapse; width: 100%; min-width: 27rem;
  font-variant-numeric: tabular-nums; font-size: .92rem; }
.cxr-scores th { font-weight: 500; text-align: left; }
.cxr-scores td, .cxr-scores thead th { text-align: right; padding: .45rem .6rem; }
.cxr-scores tbody th { padding: .45rem 0; }
.cxr-scores tbody tr { border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.cxr-scores small { display: block; font-size: .76rem; opacity: .8; white-space: nowrap; }
"""


@dataclass(frozen=True)
class Theme:
    """Colours of the page for drawn pictures: text, softer text, light lines and the ground."""

    ink: str
    muted: str
    line: str
    paper: str


# As in .streamlit/config.toml.
_LIGHT = Theme("#17262c", "#5b6a70", "#d5dee1", "#ffffff")
_DARK = Theme("#e4ecee", "#9fb0b6", "#2e3b41", "#0e1417")


def theme() -> Theme:
    """Return the colours of the theme that the visitor looks at."""
    return _DARK if st.context.theme.type == "dark" else _LIGHT


def apply() -> None:
    """Put the CSS on the page."""
    st.html(f"<style>{CSS}</style>")
