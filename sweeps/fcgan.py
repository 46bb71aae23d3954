"""A GAN of fully connected layers: which learning rates and widths draw the best digits?

uv run sweeps/fcgan.py
uv run sweeps/fcgan.py --dataset mnist --set epoch_steps=none --epochs 50

A report's own setting (rates of 2e-4, one list each for three data sets):

uv run sweeps/fcgan.py --dataset fashion_mnist --set epoch_steps=none --grid --set lr_generator=2e-4 --epochs 300
uv run sweeps/fcgan.py --dataset cifar10 --set epoch_steps=none --grid --epochs 50
"""

from genlab.sweep import Sweep, choice, log_uniform, main, uniform

SWEEP = Sweep(
    name="fcgan",
    task="gan",
    metric="kid",
    mode="min",
    # hidden layers of 256, 512 and 1024 units; epochs of 200 steps, since the digits have so few images
    settings={
        "architecture": "fully_connected",
        "normalization": "none",
        "init": "default",
        "nz": 128,
        "ngf": 256,
        "ndf": 256,
        "batch_size": 100,
        "epochs": 10,
        "epoch_steps": 200,
        "reuse_fakes": True,
    },
    space={
        "lr_generator": log_uniform(1e-4, 1e-3),
        "lr_discriminator": log_uniform(1e-4, 1e-3),
        "beta1": uniform(0.0, 0.9),
        "loss": choice("non_saturating", "least_squares"),
        "ngf": choice(128, 256),
        "ndf": choice(128, 256),
    },
    grid=[{}, {"loss": "least_squares"}],
    trials=8,
)

if __name__ == "__main__":
    main(SWEEP)
