"""A study from outside of the repository, run and reported as a user would."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks.__main__ import main

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "own_study.py"


def test_it_is_run_and_reported(tmp_path):
    path = tmp_path / "my_study.py"
    path.write_text(EXAMPLE.read_text())

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    ran = command("run", "my_study.py", "--preset", "smoke")
    assert "my-study: 6 trained, 0 found finished" in ran
    page = tmp_path / "bench-out" / "my-study" / "smoke.md"
    assert str(page.relative_to(tmp_path)) in command("report", "my_study.py")
    text = page.read_text()
    assert "AGR on breast cancer" in text
    assert "| agr+adamw | " in text
    # What repeats it names the file, and no study of the project's own.
    (again,) = [line for line in text.splitlines() if " run my_" in line]
    assert "0 trained, 6 found" in command(*again.split()[3:])
    assert "benchmarks report my_study.py --out" in text
    assert "A/A" not in text
    result = json.loads(page.with_suffix(".json").read_text())
    # Pairs: the seed alone decides what a run begins with.
    first = {
        (cell["method"], cell["seed"]): cell["curves"]["train_loss"][0]
        for cell in result["cells"]
    }
    assert first["adamw", 0] != first["adamw", 1]
    assert first["adamw", 0] == pytest.approx(first["agr+adamw", 0], rel=0.1)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("absent.py", None, "there is no file"),
        ("agr_digits.py", "", "has the name of a study that is here"),
        ("mine.py", "", "must set STUDY to a benchmarks.study.Study"),
        ("other.py", "STUDY = 3", "got int"),
    ],
)
def test_what_is_no_study_is_told(name, text, told, tmp_path, capsys):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit):
        main(["run", str(path), "--out", str(tmp_path / "out")])
    assert told in capsys.readouterr().err
