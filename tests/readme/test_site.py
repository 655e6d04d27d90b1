"""Every block of the site's pages is run as written, in the order of the pages, by one reader."""

import pytest
from readme_blocks import all_blocks
from readme_exceptions import NOT_RUN, SHOWN
from readme_world import look

BLOCKS = [b for b in all_blocks() if b.first not in NOT_RUN and b.language not in SHOWN]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_of_a_page_does_what_it_says(block, reader, request):
    if "start-re-manager" in block.text:
        reader.environment["QSERVER_CONFIG"] = str(request.getfixturevalue("redis"))
    reader.read(block)
    look(block, reader)
