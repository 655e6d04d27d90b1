from .distortion import boundary_fraction as boundary_fraction
from .distortion import check_label_image as check_label_image
from .distortion import total_distortion as total_distortion

__all__ = ["boundary_fraction", "check_label_image", "total_distortion"]
