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


def gallery() -> str:
    """Each study's pictures but its curves, which every page has."""
    lines = ["# Gallery", "", "Each picture leads to its study's page."]
    for page in sorted(RESULTS.glob("*/small.md")):
        title, _, question = page.read_text("utf-8").splitlines()[:3]
        name = page.parent.name
        lines += ["", f"## {title.removeprefix('# ')}", "", question]
        for picture in sorted(page.parent.glob("small.*.png")):
            if picture.name != "small.curves.png":
                at = f"{name}/{picture.name}"
                lines += ["", f"[![{title}]({at})]({name}/small.md)"]
    return "\n".join(lines) + "\n"


(RESULTS / "gallery.md").write_text(gallery(), "utf-8")
# Pages of the repository's root; their links are from there.
for root_page in ("CONTRIBUTING.md", "CHANGELOG.md"):
    text = (HERE.parent / root_page).read_text("utf-8")
    text = text.replace("](docs/", "](../")
    (RESULTS / root_page).write_text(text, "utf-8")

project = "optaxmods"
author = "The optaxmods authors"
copyright = author
release = version = optaxmods.__version__

# `python -m sphinx -b doctest docs docs/_build/doctest` runs every example.
extensions = [
    "linked_literals",
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
