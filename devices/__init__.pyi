from .beam import SEMBeam as SEMBeam
from .eds import EDSDetector as EDSDetector
from .microscope import Microscope as Microscope

__all__ = ["EDSDetector", "Microscope", "SEMBeam"]
