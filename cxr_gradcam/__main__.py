"""`python -m cxr_gradcam`."""

import warnings

from cxr_gradcam.cli import app

# Of a damaged file Pillow complains in its own words; what is wrong is said in a sentence.
warnings.filterwarnings("ignore", module="PIL")
app(prog_name="python -m cxr_gradcam")
