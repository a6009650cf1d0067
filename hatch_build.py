"""Metadata from one address: project links, and README's own made absolute."""

import pathlib
import re

from hatchling.metadata.plugin.interface import MetadataHookInterface


class CustomMetadataHook(MetadataHookInterface):
    """Reads ``address`` of ``[tool.hatch.metadata.hooks.custom]``."""

    def update(self, metadata: dict) -> None:
        """Sets what pyproject.toml calls dynamic."""
        address = self.config["address"]
        files = f"{address}/blob/main"
        metadata["urls"] = {
            "Source": address,
            "Documentation": f"{files}/docs/index.rst",
            "Changelog": f"{files}/CHANGELOG.md",
            "Issues": f"{address}/issues",
        }
        readme = pathlib.Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": re.sub(r"\]\((?![a-z]+:|#)", rf"]({files}/", readme),
        }
