"""SLADS written out as the paper and its references say it: slow, literal, and nothing shared with the package.

Every call visits all samples for every pixel. Lists are sorted by (distance, label); votes are summed in
float32 in that order and the ERD in float64 row by row of θ, as the package documents, so that ties fall alike.
"""

import math

import numpy as np

TERMS = [(a, b) for a in range(7) for b in range(a, 7) if (a, b) not in ((5, 5), (6, 6))]


def nearest(pixel, samples, k):
    """The k nearest of samples {(row, column): label} as (d², label), ties to the lower label."""
    row, column = pixel
    return sorted(((r - row) ** 2 + (c - column) ** 2, lab) for (r, c), lab in samples.items())[:k]


def vote(neighbours, labels):
    """Label with the largest weight 1/d², the lowest of several; and the weight of each and of all."""
    weights = {label: np.float32(0) for label in labels}
    total = np.float32(0)
    for d2, label in neighbours:
        weight = np.float32(1) / np.float32(d2)
        weights[label] = np.float32(weights[label] + weight)
        total = np.float32(total + weight)
    best = max(labels, key=lambda label: (weights[label], -label))
    return best, weights[best], total


def reconstruct(shape, samples, labels, k, inside):
    """Dictionary of the label of every pixel that is mapped."""
    recon = {}
    for row in range(shape[0]):
        for column in range(shape[1]):
            if not inside[row, column]:
                continue
            pixel = (row, column)
            recon[pixel] = samples.get(pixel) or vote(nearest(pixel, samples, k), labels)[0]
    return recon


def features(pixel, samples, recon, labels, k, radius):
    """The six features of an unmeasured pixel."""
    neighbours = nearest(pixel, samples, k)
    best, weight, total = vote(neighbours, labels)
    wrong = sum(label != best for _, label in neighbours)
    close = sum(d2 <= radius * radius for d2, _ in neighbours)
    row, column = pixel
    own = recon[pixel]
    left, right = recon.get((row, column - 1), own), recon.get((row, column + 1), own)
    above, below = recon.get((row - 1, column), own), recon.get((row + 1, column), own)
    return (
        float(np.float32(np.float32(total - weight) / total)),
        math.sqrt(wrong / len(neighbours)),
        math.sqrt(neighbours[0][0]),
        (1.0 + math.pi * radius * radius) / (1.0 + close),
        float(left != right),
        float(above != below),
    )


def erd(values, theta):
    """θ · (products of 1 and the features), added row by row."""
    z = (1.0, *values)
    table = dict(zip(TERMS, (float(t) for t in theta), strict=True))
    total = 0.0
    for a in range(7):
        row = [table[a, b] * z[b] for b in range(a, 7) if (a, b) in table]
        if row:
            summed = row[0]
            for term in row[1:]:
                summed += term
            total = total + z[a] * summed
    return np.float32(total)


def decide(shape, samples, theta, labels, k, radius, inside, free):
    """(flat pixel, ERD) with the largest ERD of the pixels that are `free`, the first in C order; None if none."""
    recon = reconstruct(shape, samples, labels, k, inside)
    best = None
    for row in range(shape[0]):
        for column in range(shape[1]):
            if free[row, column]:
                value = erd(features((row, column), samples, recon, labels, k, radius), theta)
                if best is None or value > best[1]:
                    best = (row * shape[1] + column, value)
    return best
