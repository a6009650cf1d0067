"""One module a study: its data, model, methods and metric.

A module ends in STUDY, and is found by its file; nothing else has to know of
it. What several of them share is in modules whose names begin with an
underscore.
"""

import importlib
import pkgutil

from benchmarks.study import Study


def names() -> list[str]:
    """Returns the studies' names, which are their files', sorted."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(m.replace("_", "-") for m in modules if m[0] != "_")


def find(name: str) -> Study:
    """Returns the study of a name."""
    if name not in names():
        raise ValueError(
            f"there is no study {name!r}; the studies are {', '.join(names())}"
        )
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").STUDY


def find_all() -> dict[str, Study]:
    """Returns all studies by their names."""
    return {name: find(name) for name in names()}
