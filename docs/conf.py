"""Settings of the site; `make docs` builds it. What is made from the code is in `generated.py`, links in `links.py`."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from speechrnn import __version__

project = "speechrnn"
author = "the authors of speechrnn"
project_copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated", "links"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_inherit_docstrings = False  # Keras's are written in another markup
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Call arguments", "params_style")]
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

highlight_language = "bash"  # of blocks that name none: commands, most of them

html_theme = "furo"
html_title = f"speechrnn {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
