"""LGA where the rate decays, against a floor on the rate."""

from benchmarks.contenders.makers import MakeOptimizer
from benchmarks.data import Examples
from benchmarks.studies import _lga_grids as grids
from benchmarks.studies import lga_schedulers
from benchmarks.study import Job, Method, Preset, Primary

COMMON = {**grids.COMMON, "epochs": 10}
# A step of the schedule is one of the optimizer.
SCHEDULES = {
    "cosine": {"kind": "cosine"},
    "linear": {"kind": "linear"},
    "step": {"kind": "step", "decay": 0.1, "share_of_epochs": 1 / 3},
}
FLOORS = (0.01, 0.03, 0.1, 0.3, 0.5)


def with_floor(plain: str) -> dict[str, Method]:
    return {
        f"floor-{floor:g}+{plain}": Method(
            f"`{plain}` under the schedule that ends at {floor:g} of its peak",
            arguments={"rate_factor": grids.FACTORS[plain], "floor": floor},
        )
        for floor in FLOORS
    }


def make(job: Job, examples: Examples) -> MakeOptimizer:
    settings, arguments = job.settings, dict(job.arguments)
    floor = arguments.pop("floor", 0.0)
    steps = len(examples.labels) // settings["batch_size"]
    factors = lga_schedulers.factors(
        1, steps * settings["epochs"], **settings["schedule"], floor=floor
    )
    return grids.make(job._replace(arguments=arguments), examples, factors)


STUDY = grids.grid_study(
    title="LGA under schedules that decay, against a floor on the rate",
    question=(
        "Where the rate decays, by a cosine or a line to 0 or by steps, does"
        " LGA do more than the same schedule that ends at a share of its peak?"
    ),
    places={name: {"schedule": each} for name, each in SCHEDULES.items()},
    grids={
        name: grid
        for plain in grids.FACTORS
        for name, grid in {
            plain: (grids.alone(plain), None),
            f"floor+{plain}": (with_floor(plain), plain),
            f"lga+{plain}": (grids.with_lga(plain), plain),
        }.items()
    },
    beside={f"lga+{plain}": f"floor+{plain}" for plain in grids.FACTORS},
    drawn={
        plain: grids.lines(
            plain,
            {"gamma": grids.with_lga(plain), "floor": with_floor(plain)},
        )
        for plain in grids.FACTORS
    },
    make=make,
    primary=Primary(
        grids.tuned("cosine"),
        grids.beside_of("lga+sgd", "floor+sgd"),
        "test_loss",
    ),
    presets={
        "smoke": Preset(
            {**COMMON, "limits": grids.LIMITS["smoke"], "epochs": 2},
            seeds=2,
            variants=[grids.at_rate("linear", rate) for rate in (0.1, 0.3)],
            methods=["sgd", "floor-0.1+sgd", "lga-1e-05+sgd"],
        ),
        "small": Preset({**COMMON, "limits": grids.LIMITS["small"]}, seeds=8),
        "paper": Preset(
            {**COMMON, "limits": grids.LIMITS["paper"]},
            seeds=10,
            accelerator=True,
        ),
    },
)
