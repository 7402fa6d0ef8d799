"""The page: `streamlit run streamlit_app.py`. Page configuration and navigation, nothing else."""

import streamlit as st

from cxr_gradcam.ui import style
from cxr_gradcam.ui.pages import explain

st.set_page_config(
    page_title="CXR Grad-CAM",
    page_icon=style.ICON,
    layout="wide",
    initial_sidebar_state="auto",
)
style.apply()
st.navigation([st.Page(explain.show, title="Explain", url_path="explain", default=True)]).run()
