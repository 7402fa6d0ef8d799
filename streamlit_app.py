"""The page: `streamlit run streamlit_app.py`. Page configuration and navigation, nothing else."""

import streamlit as st

from cxr_gradcam.ui import style
from cxr_gradcam.ui.components import frame
from cxr_gradcam.ui.components.frame import Place
from cxr_gradcam.ui.pages import compare, dataset, explain, model

st.set_page_config(
    page_title="CXR Grad-CAM",
    page_icon=style.ICON,
    layout="wide",
    initial_sidebar_state="auto",
)
style.apply()
frame.run(
    [
        Place("Explain", explain.show, ":material/radiology:", needs_radiograph=True),
        Place("Compare", compare.show, ":material/compare:", needs_radiograph=True),
        Place("Dataset", dataset.show, ":material/photo_library:"),
        Place("Model", model.show, ":material/neurology:", needs_model=False),
    ]
)
