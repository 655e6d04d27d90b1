"""Parts of a long measurement that are kept: what is measured again, and what is not."""

from slads_bluesky.evaluation.kept import Kept


def test_kept_part_is_measured_once_and_again_with_other_settings(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return {"50": {"a phase / another": {"ok": 0.5}}, "drift": [1.0, 2.0]}

    first = Kept(tmp_path, "0 True")("a part, 5 draws", measure)
    assert Kept(tmp_path, "0 True")("a part, 5 draws", measure) == first
    assert len(calls) == 1
    Kept(tmp_path, "1 True")("a part, 5 draws", measure)
    Kept(tmp_path, "1 True")("a part, 6 draws", measure)
    Kept(None)("a part, 6 draws", measure)
    assert len(calls) == 4
