"""`python -m cxr_gradcam`."""

from cxr_gradcam.cli import app

app(prog_name="python -m cxr_gradcam")
