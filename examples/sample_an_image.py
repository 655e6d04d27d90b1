"""Sample a label image with a sampler alone: no spectra, no microscope, no Bluesky.

``python examples/sample_an_image.py [IMAGE.npy]``; without an image, a simulated eutectic of 64 × 64 pixels.
"""

import sys

import numpy as np

from slads_bluesky import LearnedSampler
from slads_bluesky.images import boundary_fraction, total_distortion
from slads_bluesky.phantom import make_object


def main() -> None:
    """Print the distortion after 2, 5, 10 and 15 % of the pixels."""
    truth = np.load(sys.argv[1]) if len(sys.argv) > 1 else make_object("pbsn-64").truth
    print(f"{truth.shape[0]} × {truth.shape[1]} pixels, boundary fraction {boundary_fraction(truth):.3f}")
    sampler = LearnedSampler(truth.shape, labels=int(truth.max()))
    for fraction in (0.02, 0.05, 0.10, 0.15):
        while sampler.n_measured < fraction * truth.size:
            (suggestion,) = sampler.suggest(1)
            sampler.ingest(
                suggestion.pixel, int(truth.flat[suggestion.pixel])
            )  # an instrument would measure here
        wrong = total_distortion(sampler.reconstruct(), truth)
        print(f"{fraction:4.0%} of the pixels: {wrong:.4f} of the map is wrong")


if __name__ == "__main__":
    main()
