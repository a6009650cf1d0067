"""Tables and curves of a study: terminal, JSON, Markdown and PNG."""

from collections.abc import Mapping
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
from typing import Any

import jax
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.train import Curves
import optaxmods

# Column heading: the curve, the factor and the digits behind the point.
COLUMNS = {
    "test accuracy, %": ("test_accuracy", 100.0, 2),
    "test loss": ("test_loss", 1.0, 4),
    "training loss": ("train_loss", 1.0, 4),
}
PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "scikit-learn")
# Methods of one family can run on top of each other. Widths that fall from
# method to method keep the lower curve visible on both sides of the upper one.
LINE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#56B4E9", "linestyle": "-", "marker": "o"},
    {"color": "#0B3C8C", "linestyle": (0, (5, 2)), "marker": "s"},
    {"color": "#009E73", "linestyle": (0, (1, 1.5)), "marker": "^"},
    {"color": "#E69F00", "linestyle": "-", "marker": "D"},
    {"color": "#B22222", "linestyle": (0, (5, 2)), "marker": "v"},
)


def summarize(curves: Curves) -> dict[str, Any]:
    """Returns mean, standard deviation and values of the last epoch."""
    summary = {}
    for name, curve in curves._asdict().items():
        last = np.asarray(curve, np.float64)[:, -1]
        summary[name] = {
            "mean": float(last.mean()),
            "std": float(last.std(ddof=1)) if len(last) > 1 else None,
            "per_seed": last.tolist(),
        }
    return summary


def document(
    configuration: Mapping[str, Any],
    curves: Mapping[str, Curves],
    wall_seconds: float,
) -> dict[str, Any]:
    """Returns everything measured, and where, as plain JSON values."""
    return {
        "configuration": dict(configuration),
        "versions": _versions(),
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "machine": platform.machine(),
            "cpu_cores": os.cpu_count(),
        },
        "wall_seconds": round(wall_seconds, 2),
        "methods": {
            name: {
                "final": summarize(method_curves),
                "curves": {
                    key: np.asarray(curve).tolist()
                    for key, curve in method_curves._asdict().items()
                },
            }
            for name, method_curves in curves.items()
        },
    }


def table_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Returns one row of cells a method, in the order of ``COLUMNS``."""
    return [
        [name]
        + [
            _cell(method["final"][key], factor, digits)
            for key, factor, digits in COLUMNS.values()
        ]
        for name, method in results["methods"].items()
    ]


def print_table(results: Mapping[str, Any], caption: str) -> None:
    """Prints the table and its caption to standard output."""
    table = Table("method")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    for row in table_rows(results):
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(caption)


def write(
    folder: pathlib.Path,
    name: str,
    results: Mapping[str, Any],
    *,
    title: str,
    caption: str,
    command: str,
) -> list[pathlib.Path]:
    """Writes NAME.json, NAME.md and NAME.png; returns their paths."""
    contents = {
        f"{name}.json": _json(results),
        f"{name}.md": _markdown(name, results, title, caption, command),
        f"{name}.png": _png(results, title),
    }
    for file_name, content in contents.items():
        _write_atomically(folder / file_name, content)
    return [folder / file_name for file_name in contents]


def _versions() -> dict[str, str]:
    # The library may run from its source, where no metadata tell its version.
    return {
        "python": platform.python_version(),
        "optaxmods": optaxmods.__version__,
    } | {package: importlib.metadata.version(package) for package in PACKAGES}


def _cell(statistic: Mapping[str, Any], factor: float, digits: int) -> str:
    mean = f"{factor * statistic['mean']:.{digits}f}"
    if statistic["std"] is None:
        return mean
    return f"{mean} ± {factor * statistic['std']:.{digits}f}"


def _json(results: Mapping[str, Any]) -> bytes:
    def finite(value: Any) -> Any:
        # JSON has no NaN: a method that diverged reads null.
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, Mapping):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list):
            return [finite(item) for item in value]
        return value

    text = json.dumps(finite(results), indent=1, allow_nan=False)
    return f"{text}\n".encode()


def _markdown(
    name: str,
    results: Mapping[str, Any],
    title: str,
    caption: str,
    command: str,
) -> bytes:
    configuration = results["configuration"]
    device = results["device"]
    versions = ", ".join(
        f"{package} {version}"
        for package, version in results["versions"].items()
    )
    lines = [
        f"# {title}",
        "",
        "| " + " | ".join(["method", *COLUMNS]) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in table_rows(results)),
        "",
        caption,
        "",
        f"![Loss over the epochs]({name}.png)",
        "",
        *(
            f"- `{method}`: {description}"
            for method, description in configuration["methods"].items()
        ),
        "",
        f"Data: {configuration['data']}. Model: `{configuration['model']}`.",
        "",
        f"Repeat with `{command}` "
        f"({results['wall_seconds']:.0f} s on {device['kind']} "
        f"{device['machine']}, {device['cpu_cores']} CPU cores; {versions}).",
        "",
    ]
    return "\n".join(lines).encode()


def _png(results: Mapping[str, Any], title: str) -> bytes:
    # A canvas of its own leaves pyplot's global figures and backend alone.
    figure = Figure(figsize=(11, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    training, test = figure.subplots(1, 2, sharex=True)
    _draw(training, results, "train_loss", "training loss")
    _draw(test, results, "test_loss", "test loss")
    handles, labels = training.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        handlelength=5,
        frameon=False,
    )
    num_seeds = len(results["configuration"]["seeds"])
    figure.suptitle(
        f"{title}\nmean over {num_seeds} seeds, band from lowest to highest"
        if num_seeds > 1
        else f"{title}\none seed"
    )
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _draw(axes: Axes, results: Mapping[str, Any], key: str, label: str) -> None:
    methods = results["methods"]
    for index, (name, method) in enumerate(methods.items()):
        curve = np.asarray(method["curves"][key])
        epochs = np.arange(curve.shape[1])
        style = LINE_STYLES[index % len(LINE_STYLES)]
        # Markers that take turns along the axis do not hide each other.
        stride = max(len(methods), len(epochs) // 5)
        axes.plot(
            epochs,
            curve.mean(axis=0),
            label=name,
            linewidth=max(1.2, 4.4 - 0.7 * index),
            markersize=6,
            markevery=(index * stride // len(methods), stride),
            **style,
        )
        axes.fill_between(
            epochs,
            curve.min(axis=0),
            curve.max(axis=0),
            color=style["color"],
            alpha=0.12,
            linewidth=0,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{label} (cross-entropy, log scale)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Leaves the old file or the new one, never half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
