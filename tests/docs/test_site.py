"""What is asked of the pages of the documentation, and of bug reports."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

import optaxmods

DOCS = pathlib.Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location(
    "check_site", DOCS / "check_site.py"
)
check_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_site)
GOOD = "<h1>Good</h1><math><mi>x</mi></math>"
BAD = {
    r"shows TeX: \alpha": r"<p>the \alpha of Eq. 2</p>",
    "asks for http://example.com/a.js": (
        "<script src='http://example.com/a.js'></script>"
    ),
    "goes on beyond the screen: a long line": (
        "<p style='width: 2000px'>a long line</p>"
    ),
    "has 1 formulas of no size": "<math></math>",
}


@pytest.mark.skipif(
    not any(map(shutil.which, check_site.BROWSERS)),
    reason="there is no browser",
)
def test_each_fault_of_a_page_is_told(tmp_path, capsys):
    page = "<!doctype html><body><article>{}</article></body>"
    (tmp_path / "good.html").write_text(page.format(GOOD))
    check_site.main(str(tmp_path))
    assert "1 pages are whole" in capsys.readouterr().out
    for number, text in enumerate(BAD.values()):
        (tmp_path / f"{number}.html").write_text(page.format(text))
    with pytest.raises(SystemExit) as told:
        check_site.main(str(tmp_path))
    lines = str(told.value).splitlines()
    assert sorted(lines) == sorted(
        f"{number}.html, {width} pixels, {theme}: {fault}"
        for number, fault in enumerate(BAD)
        for width in check_site.WIDTHS
        for theme in check_site.THEMES
    )


def test_a_bug_report_has_versions_and_devices():
    told = subprocess.run(
        [sys.executable, "-m", "optaxmods"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = dict(line.split(maxsplit=1) for line in told.splitlines())
    assert found["optaxmods"] == optaxmods.__version__
    assert found["jax"].count(".") >= 2
    assert "(cpu)" in found["devices"]
    assert len(told.splitlines()) <= 24
