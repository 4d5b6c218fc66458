"""Sphinx's settings: `make docs` builds these pages into build/docs."""

from __future__ import annotations

import ans_fast

project = "ans_fast"
author = "ans_fast authors"
version = release = ans_fast.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 2
default_role = "code"  # of `this` in docstrings
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False

html_theme = "furo"
html_title = "ans_fast"
