"""How the site is built: `make docs` writes it to build/docs, and a warning is an error."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "World Models"
author = copyright = PROJECT["authors"][0]["name"]
release = version = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxarg.ext"]
exclude_patterns = ["pictures"]
html_theme = "furo"
html_title = f"World Models {version}"
html_copy_source = False

myst_heading_anchors = 3
# `x` in a docstring is code.
default_role = "code"
autodoc_member_order = "bysource"
autoclass_content = "both"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"


def setup(app):
    """Keeps a colon in what is said of an attribute: napoleon takes what precedes it for a type."""

    def begin_anew(_app, what, _name, _obj, _options, lines):
        if what in ("attribute", "property"):
            lines.insert(0, "")

    app.connect("autodoc-process-docstring", begin_anew, priority=400)
