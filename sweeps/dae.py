"""Which learning rate and which size take the most noise off the digits?

uv run sweeps/dae.py
uv run sweeps/dae.py --grid --dataset mnist --epochs 10
uv run sweeps/dae.py --dataset fashion_mnist --epochs 10 --set noise_std=0.3

The grid has the reports' setting, Adam 1e-3 and batch 64, at three strengths of noise: trials are compared by how far
`error/denoised` lies below their own `error/noisy`.
"""

from genlab.sweep import Sweep, choice, log_uniform, main

SWEEP = Sweep(
    name="dae",
    task="dae",
    metric="error/denoised",
    mode="min",
    settings={"epochs": 30},  # an epoch of the digits has 18 steps
    space={
        "lr": log_uniform(2e-4, 5e-3),
        "width": choice(200, 400, 800),
        "nz": choice(16, 32, 64, 128),
    },
    grid=[{"noise_std": 0.5}, {"noise_std": 0.25}, {"noise_std": 1.0}],
    images="denoised",
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
