"""Every block of the tutorials and of every page that is no how-to guide is run as written."""

from readme_blocks import other_blocks
from readme_site import site_test

test_block_of_a_page_does_what_it_says = site_test(other_blocks())
