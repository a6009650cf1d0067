"""Local files, and the one error of everything that goes wrong with them."""

import os
import pathlib

import pooch

CACHE_VARIABLE = "OPTAXMODS_DATA"


class DataError(Exception):
    """A set that cannot be had or read; its message is one line."""


def cache_folder() -> pathlib.Path:
    """Returns where downloads are kept; the variable's folder if it is set."""
    moved = os.environ.get(CACHE_VARIABLE)
    folder = pathlib.Path(moved) if moved else pooch.os_cache("optaxmods")
    return folder.expanduser().absolute()


def damaged(path: pathlib.Path, what: str) -> DataError:
    """Returns the error of a file whose content is not what it should be."""
    cache = cache_folder()
    # A set in the cache is taken as it lies there, so a file that was spoilt
    # later stays spoilt until somebody takes it out.
    if cache in path.parents:
        folder = cache / path.relative_to(cache).parts[0]
        remedy = f"delete {folder} to have it downloaded again"
    else:
        remedy = "replace it by a whole copy"
    return DataError(f"{path}: {what}; {remedy}")


def one_line(error: BaseException) -> str:
    """Returns what an exception says without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def read_bytes(path: pathlib.Path) -> bytes:
    """Returns a file's content."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, f"cannot be read ({one_line(error)})") from error


def read_lines(path: pathlib.Path) -> list[str]:
    """Returns the lines of a text file that ends with the end of a line."""
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not UTF-8 ({one_line(error)})") from error
    lines = text.replace("\r\n", "\n").split("\n")
    # All official files end so; where one does not, something was cut off.
    if lines.pop():
        raise damaged(path, "its last line is cut off")
    return lines
