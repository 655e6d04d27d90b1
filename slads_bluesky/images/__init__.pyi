from .distortion import boundary_fraction as boundary_fraction
from .distortion import total_distortion as total_distortion
from .files import read_image as read_image
from .files import read_label_image as read_label_image
from .labels import check_label_image as check_label_image
from .labels import compact_labels as compact_labels
from .segmentation import drop_small_patches as drop_small_patches
from .segmentation import segment as segment

__all__ = [
    "boundary_fraction",
    "check_label_image",
    "compact_labels",
    "drop_small_patches",
    "read_image",
    "read_label_image",
    "segment",
    "total_distortion",
]
