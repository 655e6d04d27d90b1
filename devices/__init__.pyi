from .beam import SEMBeam as SEMBeam
from .bse import BSEDetector as BSEDetector
from .eds import EDSDetector as EDSDetector
from .flyer import SparseFlyer as SparseFlyer
from .listscan import MappingEDS as MappingEDS
from .listscan import PointListScan as PointListScan
from .microscope import Microscope as Microscope
from .openbeam import OpenBeamScan as OpenBeamScan

__all__ = [
    "BSEDetector",
    "EDSDetector",
    "MappingEDS",
    "Microscope",
    "OpenBeamScan",
    "PointListScan",
    "SEMBeam",
    "SparseFlyer",
]
