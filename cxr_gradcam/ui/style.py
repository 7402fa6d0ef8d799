"""The little CSS that Streamlit's theme cannot say, and the icon.

Colours come from the theme: text is `currentColor`, softened by opacity, so one rule serves light
and dark. The accent is a teal that reads on both.
"""

from __future__ import annotations

import streamlit as st

ACCENT = "#1793a6"
_LUNGS = (
    "<rect width='32' height='32' rx='7' fill='#0e2a33'/>"
    "<path d='M14 8v8c0 1-1 2-2 2-2 1-3 4-3 7 2 0 5-1 6-3V8zm4 0v8c0 1 1 2 2 2 2 1 3 4 3 7-2 0-5-1"
    "-6-3V8z' fill='#dfeaec'/><circle cx='21' cy='20' r='5' fill='#f2994a' fill-opacity='.85'/>"
)
ICON = f"<svg viewBox='0 0 32 32' xmlns='http://www.w3.org/2000/svg'>{_LUNGS}</svg>"

WORDMARK = (
    "<svg viewBox='0 0 178 32' xmlns='http://www.w3.org/2000/svg'>"
    f"<g>{_LUNGS}</g><text x='42' y='22' font-family='sans-serif' font-size='17' "
    f"font-weight='600' textLength='130' lengthAdjust='spacingAndGlyphs' "
    f"fill='{ACCENT}'>CXR Grad-CAM</text></svg>"
)

CSS = """
.stMainBlockContainer { max-width: 1600px; padding-top: 4.6rem; padding-bottom: 3rem; }
@media (min-width: 768px) {
  .stMainBlockContainer { padding-left: 2.5rem; padding-right: 2.5rem; }
  .st-key-open_another { display: none; }
}
[data-testid="stSidebarHeader"] { margin-bottom: 1.25rem; }
[data-testid="stAlertContainer"] { padding: .65rem .85rem; }
[data-testid="stAlertContainer"] p { font-size: .95rem; }
.cxr-label { font-size: .875rem; margin: 0; font-weight: 500; }
[data-testid="stSidebar"] .cxr-label { font-weight: 400; }
.cxr-note { font-size: .85rem; line-height: 1.45; opacity: .8; margin: 0; max-width: 62rem;
  text-wrap: pretty; }
.cxr-title { font-size: .9rem; font-weight: 500; margin: 0; display: flex; gap: .75rem;
  justify-content: space-between; font-variant-numeric: tabular-nums; }
.cxr-title span:first-child { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.cxr-title span + span { opacity: .75; font-weight: 400; white-space: nowrap; flex: none; }
.cxr-heading h1 { font-size: 1.5rem; line-height: 1.3; padding: 0; margin: 0; font-weight: 600;
  overflow-wrap: anywhere; }
.cxr-heading p { font-size: .9rem; line-height: 1.4; opacity: .75; margin: 0;
  text-wrap: balance; }
.st-key-heading { flex-wrap: nowrap; }
.st-key-heading > div:has(.cxr-heading) { flex: 1 1 auto; min-width: 0; }
.cxr-hero h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 600; padding: 0;
  margin: 0 0 .7rem; text-wrap: balance; }
.cxr-hero p { font-size: 1.1rem; line-height: 1.5; opacity: .82; margin: 0 0 .5rem;
  max-width: 46rem; }
.cxr-name { font-size: .92rem; line-height: 1.35; font-weight: 500; margin: 0;
  overflow-wrap: anywhere; text-wrap: balance;
  display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
.cxr-foot { font-size: .85rem; opacity: .8; margin: 1rem 0 0; }
[data-testid="stBaseButton-primary"] { color: light-dark(#fff, #0e1417); }
[data-testid="stTopNavLink"]:focus-visible, .stCheckbox label:has(:focus-visible) {
  outline: 2px solid var(--cxr-accent); outline-offset: 2px; }
.stButtonGroup button[data-selected][aria-checked="true"]:not([data-disabled]) {
  color: light-dark(#095a68, #4cc3d4); }
.cxr-narrow { max-width: 62rem; margin: 0 auto; }
.st-key-current { flex-wrap: nowrap; }
.st-key-current > div:has(img) { flex: 0 0 4.5rem; }
.st-key-current img { width: 4.5rem; height: 4.5rem; object-fit: contain; background: #000;
  border-radius: 6px; }
.cxr-note, .cxr-section { overflow-wrap: anywhere; }
.cxr-section { font-size: 1.15rem; font-weight: 600; padding: 0; margin: 1rem 0 0;
  display: flex; flex-wrap: wrap; align-items: baseline; column-gap: .7rem; }
.cxr-section span { font-size: .9rem; font-weight: 400; opacity: .75; }

.cxr-tiles { display: flex; flex-wrap: wrap; gap: .75rem 2.5rem; margin: .25rem 0 .5rem; }
.cxr-value { font-size: 1.3rem; font-weight: 600; margin: 0; font-variant-numeric: tabular-nums; }
.st-key-model_tables > div { flex: 0 1 auto; width: auto; max-width: 100%; }
.cxr-findings > div { flex: 1 1 11rem; }
.cxr-pairs.cxr-pairs { display: grid; gap: .4rem 1.5rem; font-size: .92rem;
  grid-template-columns: minmax(8rem, 13rem) 1fr; margin: .25rem 0; padding: 0; }
.cxr-pairs.cxr-pairs :is(dt, dd) { margin: 0; padding: 0; overflow-wrap: anywhere; }
.cxr-pairs.cxr-pairs dt { opacity: .75; font-weight: 400; }
@media (max-width: 640px) { .cxr-pairs.cxr-pairs { grid-template-columns: 1fr; gap: .1rem; }
  .cxr-pairs.cxr-pairs dd { margin-bottom: .5rem; } }
.cxr-table { overflow-x: auto; margin: .25rem 0; }
.cxr-table table { border-collapse: collapse; font-size: .9rem; margin: 0;
  font-variant-numeric: tabular-nums; }
.cxr-table caption { caption-side: top; text-align: left; font-size: .85rem; opacity: .8;
  padding: 0 0 .3rem; }
.cxr-table th, .cxr-table td { padding: .35rem .8rem .35rem 0; text-align: left; border: 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
.cxr-table :is(th, td):last-child { padding-right: 0; }
@media (max-width: 900px) { .cxr-table :is(th, td) { padding-right: .45rem; } }
.cxr-table thead th { font-weight: 500; opacity: .75; vertical-align: bottom; }
.cxr-table th { min-width: 3rem; max-width: 14rem; overflow-wrap: anywhere; }
.cxr-table tbody th, .cxr-shaded th { min-width: 5.6rem; }
.cxr-table tbody th { font-weight: 500; }
.cxr-table td[style] { background: color-mix(in srgb, var(--cxr-accent)
  calc(var(--shade) * .55), transparent); }
.cxr-shaded :is(th, td), .cxr-shaded :is(th, td):last-child { padding: .35rem .6rem; }

.cxr-verdict { display: flex; flex-wrap: wrap; gap: .75rem 3rem; align-items: center;
  margin-bottom: .75rem; }
.cxr-verdict .cxr-label { font-weight: 400; opacity: .75; }
.cxr-said { flex: 0 1 auto; min-width: min(12rem, 100%); max-width: min(26rem, 100%); }
.cxr-predicted { font-size: 1.7rem; line-height: 1.2; font-weight: 600; margin: 0;
  overflow-wrap: anywhere; }
.cxr-predicted span { font-weight: 400; opacity: .75; font-variant-numeric: tabular-nums; }
.cxr-rows { flex: 1 1 22rem; display: grid; gap: .7rem 1.5rem; padding-bottom: .3rem;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.cxr-row { display: grid; grid-template: 1fr auto / 1fr auto; align-items: end; column-gap: .5rem;
  font-size: .92rem; font-variant-numeric: tabular-nums; }
.cxr-row > span { opacity: .8; min-width: 0; overflow-wrap: anywhere; display: -webkit-box;
  overflow: hidden; -webkit-line-clamp: 2; -webkit-box-orient: vertical; }
.cxr-first > span { opacity: 1; font-weight: 600; }
.cxr-track { grid-column: 1 / -1; height: 6px; border-radius: 3px; margin-top: .35rem;
  overflow: hidden; background: color-mix(in srgb, currentColor 12%, transparent); }
.cxr-track > div { height: 100%; min-width: 2px; border-radius: 3px;
  background: color-mix(in srgb, currentColor 45%, transparent); }
.cxr-first .cxr-track > div { background: var(--cxr-accent); }

.cxr-ramp { height: 12px; border-radius: 3px; overflow: hidden;
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
.cxr-ramp > div { height: 100%; }
.cxr-ticks { display: flex; justify-content: space-between; font-size: .8rem; opacity: .85;
  font-variant-numeric: tabular-nums; margin: .15rem 0; }

.st-key-workbench > div:has(> .st-key-stage) { flex: 3 1 34rem; min-width: 0; }
.st-key-workbench > div:has(> .st-key-inspector) { flex: 1 1 15rem; min-width: 0; }
@media (min-width: 1200px) {
  .st-key-workbench > div:has(> .st-key-inspector) { max-width: 21rem; }
}
.st-key-inspector { display: grid; gap: 1rem 1.5rem; align-content: start;
  grid-template-columns: repeat(auto-fit, minmax(max(13rem, 40%), 1fr)); }
.st-key-inspector > div:has(.st-key-downloads) { grid-column: 1 / -1; }
.st-key-downloads { container-type: inline-size; }
.st-key-download_buttons { display: grid; gap: .75rem; grid-template-columns: repeat(6, 1fr); }
.st-key-download_buttons > div { grid-column: span 3; }
.st-key-download_buttons > div:last-child { grid-column: 1 / -1; }
@container (min-width: 30rem) {
  .st-key-download_buttons > div:nth-child(-n + 3) { grid-column: span 2; }
  .st-key-download_buttons > div:last-child { grid-column: span 3; }
}
.st-key-gallery > div { flex: 1 1 24rem; min-width: 0; }
[class*="st-key-row_"] { flex-wrap: nowrap; }
[class*="st-key-row_"] > div { flex: 1 1 0; min-width: 0; }
[class*="st-key-tile_"] { position: relative; border-radius: 6px; overflow: hidden; }
[class*="st-key-tile_"] img { display: block; width: 100%; background: #000; border-radius: 6px; }
[class*="st-key-tile_"] > div:has(.stButton) { position: absolute; inset: 0; }
[class*="st-key-tile_"] .stButton, [class*="st-key-tile_"] .stButton > div { height: 100%; }
[class*="st-key-tile_"] button { width: 100%; height: 100%; min-height: 0; color: #fff;
  align-items: flex-end; justify-content: flex-start; padding: .35rem .5rem; text-align: left;
  border: 2px solid transparent;
  background: linear-gradient(transparent 60%, rgb(0 0 0 / 75%)) border-box; }
[class*="st-key-tile_"] button:is(:hover, :focus-visible, :active) { color: #fff;
  border-color: var(--cxr-accent);
  background: linear-gradient(transparent 60%, rgb(0 0 0 / 75%)) border-box; }
[class*="st-key-tile_"] button p { font-size: .85rem; line-height: 1.25; text-align: center;
  text-wrap: balance; text-shadow: 0 0 4px #000; }
:is([class*="st-key-tile_"], .st-key-current) [data-testid="stElementToolbar"] { display: none; }

.st-key-rehearsal { display: none; }
.st-key-welcome { max-width: 62rem; margin: 0 auto; }
.st-key-welcome [data-testid="stFileUploaderDropzone"] { min-height: 8.5rem;
  flex-direction: column; align-items: center; justify-content: center; gap: .6rem;
  border: 1.5px dashed color-mix(in srgb, currentColor 35%, transparent); }
.st-key-welcome [data-testid="stFileUploaderDropzoneInstructions"] { flex: 0 0 auto; }
.st-key-welcome :is([data-testid="stFileUploader"] label p, .cxr-label) { font-size: 1.05rem;
  font-weight: 500; }
.st-key-model_card h2 { font-size: 1.15rem; }
.st-key-model_card thead:not(:has(th:not(:empty))) { display: none; }
/* Streamlit's own is inline. */
.st-key-model_card :is(pre, pre *) { white-space: pre-wrap !important; }
.st-key-model_card td code { overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .st-key-model_card [data-testid="stMarkdownContainer"] { overflow-x: auto; }
  .st-key-model_card :is(td, th) { padding: .2rem .3rem; font-size: .75rem; }
}
"""


def apply() -> None:
    """Put the style and the name on the page."""
    st.logo(WORDMARK, size="large")
    st.html(f"<style>:root {{ --cxr-accent: {ACCENT}; }}{CSS}</style>")
