"""Train a classifier of phases, keep it in a file, and see how many counts it needs.

``python examples/train_a_classifier.py [FILE.safetensors]``. Spectra are simulated; yours come from ``.msa`` files
(`slads_bluesky.spectra.io`) or from ``collect_spectra`` in a session.
"""

import sys
from collections import Counter

import numpy as np

from slads_bluesky import PhaseClassifier
from slads_bluesky.phantom import make_object, training_spectra
from slads_bluesky.spectra import load_classifier


def main() -> None:
    """Train on 24 spectra of each phase and test on others, thinned to fewer counts."""
    file = sys.argv[1] if len(sys.argv) > 1 else "classifier.safetensors"
    axis = make_object("powder-64").axis
    PhaseClassifier.from_spectra(training_spectra("powder-64", n=24), axis).save(file)

    classifier = load_classifier(file)
    print(f"{file}: phases {', '.join(classifier.phases)}")
    rng = np.random.default_rng(1)
    for counts in (10, 30, 100, 1000):
        verdicts: Counter[str] = Counter()
        right = 0
        for number, spectra in enumerate(training_spectra("powder-64", seed=1, n=20).values(), start=1):
            for spectrum in spectra:
                thinned = rng.binomial(spectrum, min(1.0, counts / spectrum.sum())).astype(np.int32)
                found = classifier.classify(thinned)
                verdicts[found.verdict] += 1
                right += found.verdict == "ok" and found.label == number
        said = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        print(f"{counts:5d} counts: {right} of {verdicts['ok']} accepted labels are right ({said})")


if __name__ == "__main__":
    main()
