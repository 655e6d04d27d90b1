"""The paper's experiments, run again and beaten: trials, their curves, the table."""

from .figures_of_paper import PAPER, PaperResult

__all__ = ["PAPER", "PaperResult"]
