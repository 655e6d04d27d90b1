"""Objects for the laws of samplers: small, seeded, and not those of the benchmarks."""

from sampling_fixtures import make_blobs, model, model_four, oracle, random_net  # noqa: F401 (fixtures)
