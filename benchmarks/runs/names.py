"""Names as a command line takes them: several in one option, or one in each.

A comma separates names and may stand within one, as in "diabetes, 200 epochs".
Which of them is meant follows from the names that there are.
"""

from collections.abc import Collection, Sequence
import shlex


def chosen(texts: Sequence[str], known: Collection[str]) -> list[str]:
    """Returns the names that an option's texts are made of, each once.

    A text that is a name is that name. Of any other the longest beginning that
    is one is taken, and so on; white space beside a comma makes no difference.
    What is no name is returned as it stands, up to the next comma.
    """
    spelled = {", ".join(_parts(name)): name for name in known}
    found = []
    for text in texts:
        parts = [] if text in known else _parts(text)
        found += [] if parts else [text]
        while parts:
            lengths = range(len(parts), 0, -1)
            length = next(
                (n for n in lengths if ", ".join(parts[:n]) in spelled), 1
            )
            name = ", ".join(parts[:length])
            found.append(spelled.get(name, name))
            parts = parts[length:]
    # A dictionary drops repetitions and keeps the order.
    return list(dict.fromkeys(found))


def option(name: str, values: Sequence[str], known: Collection[str]) -> str:
    """Returns the option, for a shell, that ``chosen`` reads as the values."""
    together = ",".join(values)
    readable = chosen([together], known) == list(values)
    # "--name=" in one word, so that a value may begin with a hyphen.
    return "".join(
        f" --{name}={shlex.quote(text)}"
        if text.startswith("-")
        else f" --{name} {shlex.quote(text)}"
        for text in ([together] if readable else values)
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
