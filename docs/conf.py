"""Sphinx: `sphinx-build -W docs build/docs` (extra `docs`)."""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
# The package beside these pages is documented, whether installed or not; extensions lie in _ext.
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import dignified_jax  # noqa: E402, from the path above

project = "dignified_jax"
author = "the dignified_jax authors"
release = version = dignified_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "plain_docstrings",
    "api_pages",
    "config_reference",
    "repository_links",
]
exclude_patterns = ["_ext"]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored as they ran; a slow test runs them anew

default_role = "py:obj"
smartquotes = False  # they would make one dash of an option's two
# A short name in a docstring may stand for two classes of different rooms.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "dignified_jax"
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],
}
html_show_copyright = False
