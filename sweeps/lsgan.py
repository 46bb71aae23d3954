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
    settings={"epochs": 8, "epoch_steps": 100},
    space={
        "loss": choice("non_saturating", "least_squares"),
        "lr_generator": log_uniform(1e-4, 2e-3),
        "lr_discriminator": log_uniform(1e-4, 2e-3),
        "beta1": uniform(0.0, 0.9),
        "ngf": choice(16, 32, 48),
        "ndf": choice(16, 32, 48),
        "spectral_norm": choice("none", "discriminator", "both"),
    },
    grid=[
        {"loss": loss, "spectral_norm": norm}
        for loss in ("non_saturating", "least_squares")
        for norm in ("none", "discriminator", "both")
    ],
    trials=12,
    grace_epochs=2,
)

if __name__ == "__main__":
    main(SWEEP)
