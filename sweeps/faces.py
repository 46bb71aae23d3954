"""GAN against LSGAN on faces, with and without spectral normalization; on the digits where no faces are named.

uv run sweeps/faces.py
uv run sweeps/faces.py --dataset image_folder:FOLDER
uv run sweeps/faces.py --dataset celeba

The discriminator is that of the DCGAN paper: with its first layer normalized, too, as in a report's table for 32 pixels
(--set normalization=batch), it wins at first: after 2,000 steps two seeds of three had hardly begun to draw faces.

At equal steps, measured every 500, as a report did; then its 128 pixels, by one more layer of the same width, or wider:

uv run sweeps/faces.py --dataset celeba --grid --seeds 3 --set epoch_steps=500 --epochs 24
uv run sweeps/faces.py --dataset celeba --grid --set image_size=128 --set judge_image_size=64
uv run sweeps/faces.py --dataset celeba --grid --set image_size=128 --set ngf=128 --set ndf=128
"""

from genlab.sweep import Sweep, choice, log_uniform, main

SPECTRAL = [
    {"spectral_norm": "discriminator"},  # before BatchNorm, where it nearly cancels
    {"normalization": "none"},
    {"normalization": "none", "spectral_norm": "discriminator"},  # where it acts
]

SWEEP = Sweep(
    name="faces",
    task="gan",
    metric="kid",
    mode="min",
    settings={
        "image_size": 64,
        "normalization": "batch_after_first",
        "epochs": 4,
        "epoch_steps": 30,
        "reuse_fakes": True,
    },
    space={
        "loss": choice("non_saturating", "least_squares"),
        "lr_generator": log_uniform(2e-4, 2e-3),
        "lr_discriminator": log_uniform(2e-4, 2e-3),
        "normalization": choice("batch_after_first", "none"),
        "spectral_norm": choice("none", "discriminator"),
    },
    grid=[{"loss": loss, **how} for loss in ("non_saturating", "least_squares") for how in ({}, *SPECTRAL)],
    trials=10,
)

if __name__ == "__main__":
    main(SWEEP)
