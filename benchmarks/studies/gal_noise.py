"""Noise in place of GAL's network, with Eq. 4 and without, as in Table VI."""

from benchmarks.contenders import gal
from benchmarks.studies import _gal
from benchmarks.study import Paper, Preset, Primary

# The paper's with SGD on CIFAR-100, of which its table is.
METHODS = gal.methods(
    *("gal", "gal-frozen", *gal.TABLE_VI),
    plain="sgd",
    hidden_sizes=_gal.HIDDEN_SIZES,
    magnitude=0.01,
    beta=1.0,
)

STUDY = _gal.cifar_study(
    title="Noise in place of GAL's network, on CIFAR-10",
    question=(
        "Does noise of the adjustment's length raise the test accuracy, as the"
        " paper's Table VI has it, does GAL do more, and what does noise of a"
        " length of its own?"
    ),
    tables="GAL, Table VI, on a sample of CIFAR-10",
    methods=METHODS,
    primary=Primary("", "gal-noise+sgd", "test_accuracy"),
    presets={
        "smoke": Preset(
            _gal.SMOKE,
            seeds=2,
            methods=["gal-uniform-unscaled-mean+sgd"],
        ),
        "small": Preset(_gal.SMALL, seeds=10),
        "paper": Preset(_gal.WHOLE, seeds=5, accelerator=True),
    },
    paper=Paper(
        source=(
            f"{_gal.SOURCE}, Table VI, error of EfficientNet with SGD on"
            " CIFAR-100; that of the standard learning process is 11.81%, that"
            " of GAL 11.37%"
        ),
        header=("v", "v~", "error (%)"),
        rows=[
            ("U(-1, 1)", "alpha |dl/dz| v / |v| (Eq. (4))", "11.62"),
            ("U(-1, 1)", "alpha v / |v|", "97.20"),
            ("N(0, 1)", "alpha |dl/dz| v / |v| (Eq. (4))", "11.65"),
            ("N(0, 1)", "alpha v / |v|", "98.36"),
        ],
        remark="`gal-uniform` and `gal-noise` are its rows with Eq. 4, those"
        " called `unscaled` the other two. The paper does not tell whether l"
        " is an example's loss there, whose gradient is up to 1.4 long, or the"
        " mean over a batch, whose gradient is as many times shorter as there"
        " are examples; both are here, and in both Algorithm 1 decides for"
        " each example whether the noise is taken. 97 and 98 % are close to"
        " the 99 % of guessing among 100 classes.",
    ),
)
