"""A DCGAN: which noise, widths, first weights, loss and learning rates draw the best digits?

uv run sweeps/dcgan.py
uv run sweeps/dcgan.py --dataset mnist --set epoch_steps=none --trials 24

The list of --grid is a report's study of one thing at a time, around batches of 128, nz 100, width 32, rates of 2e-4:

uv run sweeps/dcgan.py --dataset mnist --set epoch_steps=none --grid --seeds 3
uv run sweeps/dcgan.py --dataset cifar10 --set epoch_steps=390 --grid --set discriminator_steps=1,2,3,4,5
uv run sweeps/dcgan.py --dataset cifar10 --set epoch_steps=none --grid --set image_size=32,64
"""

from genlab.sweep import Sweep, choice, log_uniform, main, uniform

FAST, SLOW = 1e-3, 2e-4

SWEEP = Sweep(
    name="dcgan",
    task="gan",
    metric="kid",
    mode="min",
    # epochs of 50 steps, since the digits have so few images
    settings={"epochs": 5, "epoch_steps": 50, "batch_size": 128, "reuse_fakes": True},
    space={
        "lr_generator": log_uniform(SLOW, 2e-3),
        "lr_discriminator": log_uniform(SLOW, 2e-3),
        "beta1": uniform(0.3, 0.9),
        "noise": choice("normal", "uniform"),
        "nz": choice(10, 100),
        "ngf": choice(16, 32),
        "ndf": choice(16, 32),
        "init": choice("dcgan", "default"),
        "loss": choice("non_saturating", "saturating"),
    },
    grid=[
        {"nz": 10},
        {"nz": 1000},
        {"noise": "uniform"},
        *({name: width} for name in ("ngf", "ndf") for width in (8, 128)),
        {"init": "default"},
        {"loss": "saturating"},
        {"lr_discriminator": FAST},
        {"lr_discriminator": FAST, "beta1": 0.9},
        {"lr_discriminator": FAST, "lr_generator": FAST, "beta1": 0.9},
        {"beta1": 0.9},
        {"epochs": 30},
    ],
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
