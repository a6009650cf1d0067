"""Which room imports which: the tables of docs/architecture.md, kept."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text()


def table(heading):
    """Returns the rows of a table of the page, as pairs of lists of names."""
    (rows,) = re.findall(
        rf"\| {heading} [^\n]*\n\|[-| ]*\n((?:\|[^\n]*\n)+)", PAGE
    )
    for row in rows.splitlines():
        left, right = row.strip("|").split(" | ")
        yield re.findall(r"`([^`]+)`", left), re.findall(r"`([^`]+)`", right)


# What each room may import beside itself and packages of others.
MAY = {
    room: others for rooms, others in table("folder or file") for room in rooms
}
LIBRARY, BENCHMARKS = (
    {
        room.removeprefix(f"{package}/"): others
        for room, others in MAY.items()
        if room.startswith(package)
    }
    for package in ("optaxmods", "benchmarks")
)
PRIVATE = {room for room in LIBRARY if room.startswith("_")} - {"__init__"}
TESTED_IN = {
    source: tests for sources, tests in table("source") for source in sources
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
        if isinstance(node, ast.If)
        and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
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
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(
            node.func
        ):
            (argument,) = node.args
            if isinstance(argument, ast.Constant):
                names.add(argument.value)
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


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", ["optaxmods", "benchmarks"])
def test_modules_import_no_circle(package):
    files = {module_of(file): file for file in files_of(package)}

    def reached(name):
        """A module, and the packages around it that the importer is not in."""
        for module in imported(files[name]):
            parts = module.split(".")
            around = [".".join(parts[: n + 1]) for n in range(len(parts))]
            known = [each for each in around if each in files]
            yield from known[-1:]  # Its own package's face, too.
            yield from (p for p in known if not f"{name}.".startswith(f"{p}."))

    left = {name: set(reached(name)) for name in files}
    while ends := [name for name, found in left.items() if not found]:
        left = {
            name: found - set(ends)
            for name, found in left.items()
            if name not in ends
        }
    assert not left


def test_a_test_is_found_from_its_source():
    for file in files_of("optaxmods"):
        source = str(file.relative_to(ROOT / "optaxmods").with_suffix(""))
        if file.stem != "__init__":
            own = f"{file.parent.name.strip('_')}/test_{file.stem}"
            for test in TESTED_IN.get(source, [own]):
                assert (ROOT / "tests" / f"{test}.py").exists(), source
    assert all(
        (ROOT / f"optaxmods/{source}.py").exists() for source in TESTED_IN
    )


def test_nothing_private_of_optax_or_jax_is_imported():
    folders = ("optaxmods", "benchmarks", "tests", "docs")
    for file in (file for folder in folders for file in files_of(folder)):
        for module in imported(file):
            assert not module.startswith(("optax._src", "jax._src")), file


@pytest.mark.parametrize("folder", ["tests", "docs"])
def test_other_folders_see_the_public_names_alone(folder):
    for file in files_of(folder):
        assert not rooms_of("optaxmods", imported(file)) & PRIVATE, file


def test_oracles_stand_alone():
    for file in files_of("tests/oracles"):
        outside = {module.split(".")[0] for module in imported(file)}
        assert outside <= {"tests", "math", "typing", "numpy"}, file
        assert rooms_of("tests", imported(file)) <= {"oracles"}, file
