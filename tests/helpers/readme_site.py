"""The test that a part of the site's pages is read by: the parts are files of their own, run at the same time."""

import pytest
from readme_exceptions import NOT_RUN, SHOWN
from readme_world import look


def site_test(blocks):
    """A test that runs blocks as written, in the order of the pages, by one reader."""

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize(
        "block", [b for b in blocks if b.first not in NOT_RUN and b.language not in SHOWN], ids=str
    )
    def test(block, reader, request):
        if "start-re-manager" in block.text:
            reader.environment["QSERVER_CONFIG"] = str(request.getfixturevalue("redis"))
        reader.read(block)
        look(block, reader)

    return test
