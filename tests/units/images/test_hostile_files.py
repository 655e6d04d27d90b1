"""Image files that nobody meant to write: each is read at once, or refused in one line."""

import base64
import zlib

import numpy as np
import pytest
import tifffile

from slads_bluesky.errors import DataError
from slads_bluesky.images.files import read_image, read_label_image
from slads_bluesky.images.frames import read_frame

ENDLESS = (
    "c-nQ)M^lqg6o>KO8^PWSC|F`dMFb?VV*v$Au!|i~K@*9hM!|xJz1Q#O(uE5bE?s-g#4(c@&df9OzvVpl&Pk^mOvN0c3Q<Ti15rti"
    "MUxa3f2k@ts4nLA7&TF4A^!-}7W1z_eQ5sIn~Y+GzTbiF;(kyUY9e<$`tSZ$;{HB?`)AQNmKYxF&u0>?@t$O=F`i8IjVrIHjFDV6"
    "o6QYnn)9P&_hR9n6)H_OB@Ant>1Kr2W|<wvHrG7!EwIocRjMtvM2%WYEwkJTaVsUPQfIX_)~dHogY_CUX|_R&q?C;|*=&ogw%M-L"
    "4m<6#Tbp)!?A4*uKKmVTP+FHm4m;wgV~#uFq;992cE(xfoOeNwUVSdQ<g$JPuDB{A>zYA1*WEDWrdw{yyW_55BksBHfrmytGUl;y"
    "PdxR^b1%H~%4=`D_0D@AeDuj@UwrikGyyv)"
)
"""A TIFF file, found by fuzzing, whose chain of pages has no end."""


@pytest.mark.timeout(60)
def test_tiff_with_an_endless_chain_of_pages_ends(tmp_path):
    path = tmp_path / "endless.tif"
    path.write_bytes(zlib.decompress(base64.b85decode(ENDLESS)))
    with pytest.raises(DataError, match=r"endless\.tif"):
        read_image(path)


def test_tiff_stack_is_refused_and_a_thumbnail_is_left_out(tmp_path):
    image = np.arange(144, dtype=np.uint8).reshape(12, 12)
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as writer:
        writer.write(image, metadata=None)
        writer.write(image[::2, ::2], metadata=None)
    assert np.array_equal(read_image(tmp_path / "thumbnail.tif"), image)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for _ in range(2):
            writer.write(image, metadata=None)
    with pytest.raises(DataError, match=r"stack\.tif: .*a stack of images"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("reader", [read_label_image, read_frame])
@pytest.mark.parametrize(
    ("compression", "tags", "words"),
    [
        (None, {"ImageLength": 1 << 30, "RowsPerStrip": 1 << 30}, "do not fit into a file"),
        ("zlib", {"ImageLength": 1 << 30, "RowsPerStrip": 1 << 30}, "do not fit into a file"),
        (None, {"ImageLength": 1 << 30}, "parts that its header states"),
    ],
)
def test_tiff_that_states_more_than_it_holds_is_refused_at_once(reader, compression, tags, words, tmp_path):
    file = tmp_path / "labels.tif"
    tifffile.imwrite(file, np.ones((12, 12), np.uint8), compression=compression)
    with tifffile.TiffFile(file, mode="r+b") as opened:
        for name, value in tags.items():
            opened.pages[0].tags[name].overwrite(value, dtype="I")
    with pytest.raises(DataError, match=words):
        reader(file)
