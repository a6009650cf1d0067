"""Maths as MathML, which browsers render themselves, without any network."""

from typing import Any

from docutils import nodes
import latex2mathml.converter
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number


def visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})</span>')
    tex = node.astext()
    if "&" in tex or r"\\" in tex:  # As Sphinx's own renderers do.
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    mathml = latex2mathml.converter.convert(tex, display="block")
    writer.body.append(f"{mathml}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
