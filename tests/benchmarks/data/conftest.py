"""A cache of data sets for each test."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, so that no test depends on what a machine has."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTAXMODS_DATA", str(folder))
    return folder
