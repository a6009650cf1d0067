"""Which room imports which: the tree of docs/architecture.md, kept."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What each room may import beside itself and packages of others.
LIBRARY = {
    "_shared": [],
    "_adan": ["_shared"],
    "_agr": ["_shared", "_adan"],
    "_lga": ["_shared"],
    "_gal": ["_shared"],
    "flax": ["_shared"],
    "__init__": ["_adan", "_agr", "_lga", "_gal", "flax"],
}

PRIVATE = {room for room in LIBRARY if room.startswith("_")}
BENCHMARKS = {
    "study": [],
    "data": [],
    "models": [],
    "contenders": ["study"],
    "training": ["study", "data", "models", "contenders"],
    "runs": ["study"],
    "reporting": ["study", "data", "runs"],
    "studies": [
        *("study", "data", "models", "contenders", "training", "reporting"),
    ],
    "costs": ["runs"],
    "__main__": ["study", "studies", "data", "runs", "reporting"],
    "__init__": [],
}


@functools.cache
def imported(file):
    """Returns the modules that a file imports, lazily or not.

    What type checkers alone import leads nowhere when the code runs.
    """
    tree, names = ast.parse(file.read_text()), set()
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative"
            # Either may be a module.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(room):
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) or [folder.with_suffix(".py")]


def rooms_of(package, modules):
    """Returns the rooms of a package among what is imported."""
    parts = (module.split(".") for module in modules)
    return {path[1] for path in parts if path[0] == package and path[1:]}


@pytest.mark.parametrize("room", LIBRARY)
def test_a_room_of_the_library_imports_what_it_may(room):
    for file in files_of(f"optaxmods/{room}"):
        modules = imported(file)
        assert "optaxmods" not in modules, file  # The faces are for users.
        found = rooms_of("optaxmods", modules)
        assert found <= {room, *LIBRARY[room]}, file
        outside = {module.split(".")[0] for module in modules}
        assert not outside & {"benchmarks", "tests"}, file


@pytest.mark.parametrize("room", BENCHMARKS)
def test_a_room_of_the_benchmarks_imports_what_it_may(room):
    for file in files_of(f"benchmarks/{room}"):
        modules = imported(file)
        found = rooms_of("benchmarks", modules)
        assert found <= {room, *BENCHMARKS[room]}, file
        assert not rooms_of("optaxmods", modules) & PRIVATE, file
        assert "tests" not in {module.split(".")[0] for module in modules}


@pytest.mark.parametrize(
    ("package", "rooms"), [("optaxmods", LIBRARY), ("benchmarks", BENCHMARKS)]
)
def test_every_room_is_known(package, rooms):
    found = {path.stem for path in (ROOT / package).iterdir()}
    assert found - {"__pycache__", "py", "results"} == set(rooms)


@pytest.mark.parametrize("package", ["optaxmods", "benchmarks"])
def test_modules_import_no_circle(package):
    files = sorted((ROOT / package).rglob("*.py"))
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in files
    }
    left = {
        name: {
            other
            for other in names
            if other != name
            and any(
                module == other or module.startswith(f"{other}.")
                for module in imported(path)
            )
        }
        for name, path in names.items()
        if path.stem != "__init__"
    }
    left = {name: found & set(left) for name, found in left.items()}
    while ends := [name for name, found in left.items() if not found]:
        left = {
            name: found - set(ends)
            for name, found in left.items()
            if name not in ends
        }
    assert not left


@pytest.mark.parametrize("folder", ["tests", "docs"])
def test_other_folders_see_the_public_names_alone(folder):
    for file in files_of(folder):
        assert not rooms_of("optaxmods", imported(file)) & PRIVATE, file


def test_oracles_stand_alone():
    for file in files_of("tests/oracles"):
        outside = {module.split(".")[0] for module in imported(file)}
        assert outside <= {"tests", "math", "typing", "numpy"}, file
        assert rooms_of("tests", imported(file)) <= {"oracles"}, file
