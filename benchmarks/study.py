"""What a study is, and what comes of it: types alone.

A study states its question, data, model, methods, metrics, the paper's numbers
and presets, and says how to run one method for some seeds. A finished
seed of a method in a variant is a ``Cell``, and the cells of one configuration
are a ``Result``.
"""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

# All studies have the first three, some the last.
PRESETS = ("smoke", "small", "paper", "device")
Settings = Mapping[str, Any]  # JSON values.


class Metric(NamedTuple):
    """One number of a finished run; the paper's claim is about the first."""

    key: str  # Of Outcome.final.
    label: str
    larger_is_better: bool
    factor: float = 1.0  # From what is measured to what is shown.
    digits: int = 2
    tested: bool = True  # Else it describes a method and is not compared.


class Method(NamedTuple):
    """One contender."""

    description: str
    baseline: str | None = None  # The method it is compared with.
    claimed: bool = False  # Whether the paper claims it, on whatever data.
    not_run: str = ""  # Why it is listed all the same, where it cannot be run.
    # The numbers and choices that it is built from, JSON values; Study.run
    # finds them in its job, and a cell of other ones is another cell.
    arguments: Mapping[str, Any] = {}


class Paper(NamedTuple):
    """What the paper printed, word for word, to stand beside our table."""

    source: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    remark: str  # What differs between their setting and ours.


class Primary(NamedTuple):
    """The one test that answers the question, named before the run.

    It is not corrected for the others.
    """

    variant: str  # A study's, or one of its tuning.
    method: str  # Compared with its baseline.
    metric: str  # Its key.


class Contender(NamedTuple):
    """Several methods of a study, of which validation chooses one."""

    description: str
    methods: Sequence[str]
    baseline: str | None = None  # Another contender.


class Tuning(NamedTuple):
    """What is chosen on examples for validation, and judged by the metrics."""

    key: str  # Of Outcome.final; the smallest mean over the seeds is chosen.
    contenders: Mapping[str, Contender]
    # By what a choice among them is called.
    variants: Mapping[str, Sequence[str]]


class Preset(NamedTuple):
    """How large a run is."""

    settings: Settings
    seeds: int
    variants: Sequence[str] | None = None  # None: all of the study's.
    methods: Sequence[str] | None = None
    accelerator: bool = False  # Whether it would take hours on a CPU.


class Job(NamedTuple):
    """One method for some seeds."""

    method: str
    settings: Settings  # The preset's, with the variant's on top.
    seeds: Sequence[int]
    data: Any  # What Study.load returned.
    on_progress: Callable[[], None]  # To be called Study.steps times.
    arguments: Mapping[str, Any] = {}  # The method's.


class Outcome(NamedTuple):
    """What one seed gave; numbers that are not finite mean it diverged."""

    curves: Mapping[str, Sequence[float]]
    final: Mapping[str, float]


class Key(NamedTuple):
    """Which cell of a run."""

    variant: str
    method: str
    seed: int


class Cell(NamedTuple):
    """A finished seed of a method in a variant."""

    variant: str
    method: str
    seed: int
    diverged: bool  # Whether a number of it is not finite.
    wall_seconds: float
    digest: str | None  # Of its configuration; None where none was kept.
    curves: Mapping[str, Sequence[float]]
    final: Mapping[str, float]

    @property
    def key(self) -> Key:
        return Key(self.variant, self.method, self.seed)


class Data(NamedTuple):
    """What tells the data of a run from others."""

    description: str
    shapes: Sequence[Sequence[int]]
    crc32: str


class Configuration(NamedTuple):
    """What all cells of a run share."""

    study: str
    preset: str
    settings: Settings  # The preset's, with what the user chose on top.
    model: str
    data: Data


class Device(NamedTuple):
    """What ran a cell."""

    platform: str  # JAX's word.
    kind: str
    cpu_cores: int | str  # A word where it is not known.


class Result(NamedTuple):
    """The cells of a run, as its page shows them."""

    study: str
    preset: str
    configuration: Configuration
    versions: Sequence[Mapping[str, str]]  # Those that differ; by package.
    devices: Sequence[Device]  # Those that differ.
    wall_seconds: float  # Of all cells.
    cells: Sequence[Cell]


class Curve(NamedTuple):
    """One panel of the plot of curves."""

    key: str  # Of Outcome.curves.
    label: str
    log: bool = False


class Study(NamedTuple):
    """Everything about one experiment."""

    title: str
    question: str
    data_sets: Sequence[str]  # Keys of benchmarks.data.SETS.
    data: str
    model: str
    metrics: Sequence[Metric]
    curves: Sequence[Curve]
    methods: Mapping[str, Method]
    presets: Mapping[str, Preset]  # By their names, some of PRESETS.
    load: Callable[[Settings, pathlib.Path | None], Any]
    run: Callable[[Job], Sequence[Outcome]]
    # Settings that are compared side by side, such as learning rates.
    variants: Mapping[str, Settings] = {"": {}}
    # Those of the variants' settings that a user would tune.
    tuned: Sequence[str] = ("learning_rate",)
    tuning: Tuning | None = None
    primary: Primary | None = None
    # Which tables or figures of which paper it is, for the list of studies.
    tables: str = "none"
    paper: Paper | None = None
    # Returns more pictures: file name's ending -> PNG.
    pictures: "Callable[[Study, Result], Mapping[str, bytes]] | None" = None
    # Returns more parts of the page, Markdown.
    sections: "Callable[[Study, Result], Sequence[str]] | None" = None
    x_label: str = "epoch"
    file: str = ""  # Where it is, if it is none of this repository's.
    steps: Callable[[Settings], int] = lambda settings: settings["epochs"]

    @property
    def tested(self) -> list[Metric]:
        """The metrics that methods are compared in; the first is one."""
        return [metric for metric in self.metrics if metric.tested]

    def to_run(self, preset: Preset | None = None) -> list[str]:
        """Returns a preset's methods, or all, but those that cannot be run."""
        planned = (preset and preset.methods) or self.methods
        return [name for name in planned if not self.methods[name].not_run]
