"""The CSS of the page "Compare"."""

from __future__ import annotations

import streamlit as st

_CSS = """
.st-key-compare_subject, [class*="st-key-compare_choices"] { align-items: flex-end; }
.st-key-compare_subject { row-gap: .5rem; }
.st-key-compare_subject > div { flex: 0 1 auto; max-width: 100%; }
@media (max-width: 640px) { .st-key-compare_subject .stButtonGroup button { padding: 0 .45rem; }
  .st-key-compare_subject .stButtonGroup button p { font-size: .8rem; } }
[class*="st-key-compare_choices"] > div { flex: 1 1 9rem; min-width: 9rem; max-width: 16rem; }
[class*="st-key-compare_choices"] > div:has(.stCheckbox, .stButton, .stButtonGroup) {
  flex: 0 0 auto; width: auto; max-width: 100%; }
[class*="st-key-compare_choices"] .stButtonGroup button { min-height: 2.5rem; }
[class*="st-key-compare_choices"] > div:has(.stFileUploader) { flex-basis: 18rem;
  max-width: 30rem; }
.st-key-compare_subject .stCheckbox, [class*="st-key-compare_choices"] .stCheckbox {
  padding-bottom: .45rem; }
.st-key-compare_agreement .stSelectbox { max-width: 16rem; }
.cxr-agreement, .cxr-balance { overflow-x: auto; margin: .4rem 0 .6rem; }
.cxr-agreement table, .cxr-balance table { border-collapse: separate; border-spacing: 2px;
  font-size: .85rem; font-variant-numeric: tabular-nums; }
.cxr-agreement th { font-weight: 500; padding: .25rem .6rem; white-space: nowrap; border: 0; }
.cxr-agreement th[scope=row] { text-align: right; }
.cxr-agreement td { min-width: 4.6rem; padding: .35rem .5rem; text-align: center; border: 0;
  border-radius: 3px; }
.cxr-agreement-said { font-size: .95rem; margin: 0; }
.cxr-balance caption { text-align: left; font-size: .95rem; padding: 0 0 .5rem; color: inherit;
  caption-side: top; }
.cxr-balance :is(caption, th) { overflow-wrap: anywhere; }
.cxr-balance th { font-weight: 400; text-align: left; padding: .25rem 2rem .25rem 0; border: 0; }
.cxr-balance td { text-align: right; padding: .25rem 0; border: 0; white-space: nowrap; }
.cxr-balance .cxr-sum > * { font-weight: 600;
  border-top: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
"""


def apply() -> None:
    """Put the style on the page."""
    st.html(f"<style>{_CSS}</style>")
