"""Every block of the how-to guides from Q to S is run as written."""

from readme_blocks import how_to_blocks
from readme_site import site_test

test_block_of_a_page_does_what_it_says = site_test(how_to_blocks("q", "s"))
