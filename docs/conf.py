"""Sphinx configuration; ``make docs`` builds the pages."""

import os
import pathlib
import shutil
import sys

# The examples on the page about meshes run on eight devices. JAX reads this
# when it first looks for devices.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
    ]
).strip()

import optaxmods

# The results are pages of the documentation as they were committed.
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
RESULTS = HERE / "_results"
shutil.rmtree(RESULTS, ignore_errors=True)
shutil.copytree(
    HERE.parent / "benchmarks" / "results",
    RESULTS,
    ignore=shutil.ignore_patterns("*.json"),
)

project = "optaxmods"
author = "The optaxmods authors"
copyright = author
release = version = optaxmods.__version__

# `python -m sphinx -b doctest docs docs/_build/doctest` runs every example.
extensions = [
    "mathml",
    "myst_parser",
    "notebooks",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
exclude_patterns = ["_build"]
nitpicky = True
# Nothing is fetched during a build, so other projects' names stay unlinked.
nitpick_ignore_regex = [(r"py:.*", r"(chex|flax|jax|optax)\..*")]

autodoc_typehints = "none"  # The docstrings say what each argument takes.
napoleon_use_rtype = False
python_maximum_signature_line_length = 72

html_theme = "furo"
html_title = f"optaxmods {release}"
html_copy_source = False
html_show_sphinx = False
