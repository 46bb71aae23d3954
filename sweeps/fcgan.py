"""A GAN of fully connected layers: which learning rates and widths draw the best digits?

uv run sweeps/fcgan.py
uv run sweeps/fcgan.py --dataset mnist --set epoch_steps=none --epochs 50

A report's setting, the default one, on its other data sets:

uv run sweeps/fcgan.py --dataset fashion_mnist --set epoch_steps=none --epochs 300 --trials 1
uv run sweeps/fcgan.py --dataset cifar10 --set epoch_steps=none --epochs 50 --trials 1
"""

from genlab.sweep import Sweep, choice, log_uniform, main, uniform

SWEEP = Sweep(
    name="fcgan",
    task="gan",
    metric="kid",
    mode="min",
    # hidden layers of 128, 256 and 512 units, and dropout: the reports give neither. Without dropout the discriminator
    # wins for good on some seeds of MNIST within ten epochs. The digits are few, so epochs of 200 steps
    settings={
        "architecture": "fully_connected",
        "normalization": "none",
        "dropout": 0.3,
        "init": "default",
        "nz": 128,
        "ngf": 128,
        "ndf": 128,
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
        "ngf": choice(64, 128),
        "ndf": choice(64, 128),
    },
    grid=[{"loss": "least_squares"}],
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
