"""How large a latent space, which learning rate, and which architecture give a VAE of the digits the best ELBO?

uv run sweeps/vae.py
uv run sweeps/vae.py --grid --dataset mnist --epochs 10
uv run sweeps/vae.py --grid --dataset fashion_mnist --epochs 10
uv run sweeps/vae.py --dataset cifar10 --epochs 10 --set architecture=convolutional --trials 6

The third shows the plane of a 10-dimensional latent space (trial 0002, image `embedding`). The grid has the reports'
settings: fully connected, z = 20, Adam 5e-4, batch 64; at z = 2 and 10; and convolutional.
"""

from genlab.sweep import Sweep, choice, integer, log_uniform, main

SWEEP = Sweep(
    name="vae",
    task="vae",
    metric="elbo",
    mode="max",
    settings={"epochs": 30},  # an epoch of the digits has 18 steps
    space={
        "nz": integer(2, 40),
        "lr": log_uniform(2e-4, 5e-3),
        "architecture": choice("fully_connected", "convolutional"),
    },
    grid=[
        {"architecture": "fully_connected", "nz": 20},
        {"architecture": "fully_connected", "nz": 2},
        {"architecture": "fully_connected", "nz": 10},
        {"architecture": "convolutional", "nz": 20},
    ],
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
