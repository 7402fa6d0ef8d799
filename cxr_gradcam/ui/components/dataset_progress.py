"""How far the evaluation of the folder is: a bar, a button to start it and one to stop it."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.survey.survey import Status, Survey
from cxr_gradcam.ui.text import plain


def progress(survey: Survey, drawn_as_running: bool) -> None:
    """Draw it. What the rest of the page shows depends on it, so a change draws all anew.

    Args:
        survey: the evaluation, shared with other visitors.
        drawn_as_running: what the rest of the page was drawn for.
    """
    status = survey.status
    if status.running != drawn_as_running:
        st.rerun()
    with st.container(
        key="dataset_progress", horizontal=True, gap="medium", vertical_alignment="center"
    ):
        with st.container(gap="xsmall"):
            st.html(f'<p class="cxr-label">{_words(status)}</p>')
            if 0 < status.done < status.total or status.running:
                st.progress(status.done / status.total)
        if status.running:
            if st.button("Stop", key="dataset_stop", icon=":material/stop:"):
                survey.stop()
                st.rerun()
        elif status.done < status.total:
            words = "Go on" if status.done else "Evaluate all films"
            if st.button(words, key="dataset_start", type="primary", icon=":material/play_arrow:"):
                survey.start()
                st.rerun()
    if status.problem:
        st.warning(plain(status.problem), icon=":material/warning:")


def _words(status: Status) -> str:
    counted = f"{status.done:,} of {status.total:,} films evaluated"
    if status.running:
        parts = [counted]
        if status.speed:
            parts.append(f"{status.speed:.1f} films/s")
        if status.seconds_left is not None:
            parts.append(f"{_time(status.seconds_left)} left")
        return " · ".join(parts)
    if status.done == status.total:
        return f"All {status.total:,} films evaluated"
    if not status.done:
        return f"{status.total:,} films, not evaluated yet"
    return counted


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
