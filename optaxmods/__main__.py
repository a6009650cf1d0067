"""What a bug report needs to say: ``python -m optaxmods``."""

import collections
import importlib
import importlib.metadata
import platform

import jax

PACKAGES = ("jax", "jaxlib", "optax", "flax", "chex", "numpy")
OPTIONAL = ("orbax-checkpoint", "equinox", "dm-haiku")
SETTINGS = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_debug_nans")


def lines() -> list[str]:
    """Versions, devices and settings, a line each."""
    own = importlib.import_module(str(__package__))
    found = {
        "optaxmods": own.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in PACKAGES + OPTIONAL:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in PACKAGES:
                found[name] = "not installed"
    kinds = collections.Counter(
        f"{device.device_kind} ({device.platform})" for device in jax.devices()
    )
    found["devices"] = ", ".join(f"{n} x {kind}" for kind, n in kinds.items())
    found["processes"] = str(jax.process_count())
    for name in SETTINGS:
        found[name] = str(getattr(jax.config, name))
    width = max(map(len, found))
    return [f"{name:{width}}  {value}" for name, value in found.items()]


if __name__ == "__main__":
    print("\n".join(lines()))
