"""A conditional DCGAN: does it help to tell the networks which digit to draw?

uv run sweeps/cdcgan.py
uv run sweeps/cdcgan.py --dataset mnist --set epoch_steps=none

The list of --grid tells both networks, neither, or the generator alone, whose discriminator is then blind to the class:

uv run sweeps/cdcgan.py --dataset mnist --set epoch_steps=none --grid --seeds 3
"""

from genlab.sweep import Sweep, choice, log_uniform, main, uniform

SWEEP = Sweep(
    name="cdcgan",
    task="gan",
    metric="kid",
    mode="min",
    settings={"conditional": "both", "epochs": 5, "epoch_steps": 50, "batch_size": 128, "reuse_fakes": True},
    space={
        "conditional": choice("both", "none", "generator"),
        "lr_generator": log_uniform(2e-4, 2e-3),
        "lr_discriminator": log_uniform(2e-4, 2e-3),
        "beta1": uniform(0.3, 0.7),
        "ngf": choice(16, 32),
        "ndf": choice(16, 32),
    },
    grid=[{"conditional": told} for told in ("none", "generator")],
    trials=10,
    images="by_class",
)

if __name__ == "__main__":
    main(SWEEP)
