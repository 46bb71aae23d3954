"""Non-saturating against least squares: which adversarial loss, and which settings, draw the best digits?

uv run sweeps/lsgan.py
uv run sweeps/lsgan.py --dataset mnist --workers 2 --trials 20
"""

from genlab.sweep import Sweep, choice, log_uniform, main, uniform

SWEEP = Sweep(
    name="lsgan",
    task="gan",
    metric="kid",
    mode="min",
    # at the usual 2e-4 a generator draws nothing yet after so few steps
    settings={"epochs": 5, "epoch_steps": 75, "reuse_fakes": True, "lr_generator": 1e-3, "lr_discriminator": 1e-3},
    space={
        "loss": choice("non_saturating", "least_squares"),
        "lr_generator": log_uniform(2e-4, 2e-3),
        "lr_discriminator": log_uniform(2e-4, 2e-3),
        "beta1": uniform(0.3, 0.7),
        "ngf": choice(16, 32),
        "ndf": choice(16, 32),
        "normalization": choice("batch", "none"),
        "spectral_norm": choice("none", "discriminator"),
    },
    # where BatchNorm follows, spectral normalization hardly changes anything
    conditions={"spectral_norm": {"normalization": ["none"]}},
    grid=[
        {"loss": loss, "normalization": normalization, "spectral_norm": spectral_norm}
        for loss in ("non_saturating", "least_squares")
        for normalization, spectral_norm in (("batch", "none"), ("none", "none"), ("none", "discriminator"))
    ],
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
