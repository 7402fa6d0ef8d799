"""`python -m cxr_gradcam`."""

import sys
import warnings

from cxr_gradcam.cli import app
from cxr_gradcam.files import print_any_path

# python-gdcm, which a command imports, asks for a module of Python 2 by this name, and would take a
# folder called so, where the program is started, for it.
sys.modules["dl"] = None  # type: ignore[assignment]
# Of a damaged file Pillow complains in its own words; what is wrong is said in a sentence.
warnings.filterwarnings("ignore", module="PIL")
print_any_path()
app(prog_name="python -m cxr_gradcam")
