"""How the documentation is built: ``make docs`` turns every warning into an error."""

import mcusim

project = "mcusim"
author = "The mcusim authors"
release = mcusim.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "mcusim"
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_use_ivar = True
# Prompts of consoles are shown as they are typed.
suppress_warnings = ["misc.highlighting_failure"]
