"""Names of other projects, written ``optax.adamw``, as links to their pages.

``docs/links.csv`` has the addresses, so that nothing is fetched.
"""

import csv
import pathlib
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

SITES = {
    "optax": "https://optax.readthedocs.io/en/latest/",
    "jax": "https://docs.jax.dev/en/latest/",
    "flax": "https://flax.readthedocs.io/en/latest/",
}
TABLE = pathlib.Path(__file__).parents[1] / "links.csv"


def addresses() -> dict[str, str]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {
            row["name"]: f"{SITES[row['site']]}{row['page']}#{row['anchor']}"
            for row in csv.DictReader(file)
        }


class LinkedLiterals(SphinxTransform):
    """Each literal that is a name of the table, but in a link or a title."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        found = addresses()
        for literal in list(self.document.findall(nodes.literal)):
            address = found.get(literal.astext().removesuffix("()"))
            parents = (nodes.reference, nodes.title)
            if address is None or isinstance(literal.parent, parents):
                continue
            link = nodes.reference("", "", refuri=address, internal=False)
            literal.replace_self(link)
            link.append(literal)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(LinkedLiterals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
