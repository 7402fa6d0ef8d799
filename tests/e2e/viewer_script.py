"""A page with nothing but viewers, for the tests in the browser: `?film=wide`, `deep`, `large`."""

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.components.viewer import Panel, viewer


def film(name: str) -> Radiograph:
    """Return 300 x 700 pixels of 8 bits, 512 x 512 of 16, or 1,301 x 1,101 of 16."""
    if name == "large":
        small = draw_phantom("COVID", 4, 512).radiograph.pixels
        pixels = cv2.resize(small, (1101, 1301), interpolation=cv2.INTER_LINEAR)
        return Radiograph.from_array(np.clip(pixels, 0, 1), name="large")
    if name == "deep":
        return draw_phantom("Lung_Opacity", 2, 512).radiograph
    pixels = draw_phantom("COVID", 5, 700).radiograph.pixels[200:500]
    return Radiograph.from_array(np.rint(pixels * 255) / 255, name="wide.png")


@st.cache_resource
def lesion(name: str) -> np.ndarray | None:
    """Return the lesion of the deep film, bool (512, 512)."""
    return draw_phantom("Lung_Opacity", 2, 512).lesion_mask if name == "deep" else None


@st.cache_resource
def explained(name: str) -> tuple[Radiograph, Explanation]:
    """Return a film and its explanation, made once for all tests."""
    chosen = film(name)
    return chosen, Explainer(load_classifier(device="cpu")).explain(chosen)


def main() -> None:
    """Draw the radiograph beside its overlay, and all classes below."""
    st.set_page_config(layout="wide", initial_sidebar_state="collapsed")
    name = st.query_params.get("film", "wide")
    chosen, explanation = explained(name)
    asked = st.query_params.get("class", "COVID")
    class_name = st.pills("Class", explanation.classes, default=asked) or asked
    top = explanation.peak(class_name, LAST_LAYER, "shared")
    pair = [
        Panel(chosen, "Radiograph", lesion=lesion(name)),
        Panel(chosen, class_name, "", explanation, class_name, LAST_LAYER, top, "shared scale"),
    ]
    viewer(pair, key="pair", columns=2)
    panels = [
        Panel(chosen, each, "", explanation, each, LAST_LAYER, top) for each in explanation.classes
    ]
    viewer(panels, key="classes", tall=False, tools=False)


if __name__ == "__main__":
    main()
