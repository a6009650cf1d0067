"""Each notebook as a page, with the outputs that were committed."""

import base64
import json
import pathlib
from typing import Any

from sphinx.application import Sphinx

TOP = """{{download}}`This page as a notebook <../notebooks/{name}.ipynb>`, to
run and to change.
"""


def page(path: pathlib.Path, out: pathlib.Path) -> str:
    """A notebook as Markdown; its pictures are written beside."""
    parts, heading, pictures = [], "", 0
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = source.splitlines()[0].lstrip("# ")
            parts.append(source)
            if len(parts) == 1:
                parts.append(TOP.format(name=path.stem))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                parts.append(f"```text\n{''.join(output['text'])}```")
                continue
            pictures += 1
            picture = out / f"{path.stem}-{pictures}.png"
            picture.write_bytes(base64.b64decode(output["data"]["image/png"]))
            parts.append(f"![{heading}]({picture.name})")
    return "\n\n".join(parts) + "\n"


def write_pages(app: Sphinx) -> None:
    here = pathlib.Path(app.srcdir)
    out = here / "_notebooks"
    out.mkdir(exist_ok=True)
    for path in (here / "notebooks").glob("*.ipynb"):
        (out / f"{path.stem}.md").write_text(page(path, out))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
