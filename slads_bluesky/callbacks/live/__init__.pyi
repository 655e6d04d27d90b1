from .figure import MapFigure as MapFigure
from .state import MapState as MapState
from .templates import phase_templates as phase_templates
from .view import LiveView as LiveView
from .view import has_display as has_display
from .view import live_view as live_view

__all__ = ["LiveView", "MapFigure", "MapState", "has_display", "live_view", "phase_templates"]
