"""One module a study: its data, model, methods and metric.

A module ends in STUDY, and is found by its file; nothing else has to know of
it. What several of them share is in modules whose names begin with an
underscore.
"""

import importlib
import importlib.util
import pathlib
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


def named(text: str) -> tuple[str, Study]:
    """Returns a study by its name, or by the path of one's own ``NAME.py``.

    Raises:
        ValueError: There is none, or the file does not end in a study.
    """
    path = pathlib.Path(text)
    if path.suffix != ".py":
        return text, find(text)
    name = path.stem.replace("_", "-")
    if name in names():
        raise ValueError(
            f"{text} has the name of a study that is here: name it otherwise"
        )
    if not path.is_file():
        raise ValueError(f"there is no file {text}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "STUDY", None)
    if not isinstance(found, Study):
        raise ValueError(
            f"{text} must set STUDY to a benchmarks.study.Study, got"
            f" {type(found).__name__}"
        )
    return name, found._replace(file=text)
