"""An example for the help of each command, below its options; some have theirs in their own text."""

from __future__ import annotations

from typing import Any

__all__ = ["EXAMPLES", "add_examples"]

EXAMPLES = {
    "demo": "demo pbsn-64 --fraction 0.1",
    "simulate": "simulate map.npy --fraction 0.1 --json figures.json",
    "ioc": "ioc --object pbsn-64 --port 5064",
    "runs": "runs --since yesterday",
    "show": "show -1",
    "replay": "replay -1 --verify",
    "resume": "resume -1",
    "segment": "segment bse1.tif --phases 3 -o labels.npy --preview look.png",
    "export": "export -1 map.nxs",
    "report": "report -1 map.pdf",
    "serve": "serve --port 8000",
    "relabel": "relabel -1",
    "classify": "classify spectra.msa --classifier classifier.safetensors",
    "phases": "phases -1 --classifier found.safetensors",
    "quantify": "quantify -1 --elements Pb,Sn",
    "denoise": "denoise raster.npy --classifier classifier.safetensors -o map.npy",
    "calibrate-detector": "calibrate-detector quartz.msa=SiO2 -o detector.json",
    "view": "view -1 --save map.png",
    "estimate": "estimate 256x256 --fraction 0.1 --dwell 2",
    "doctor": "doctor --instrument profile/instrument.yml",
    "paper": "paper --quick --markdown table.md",
    "train sampler": "train sampler field1.npy field2.npy -o sampler.safetensors",
    "train learned": "train learned --adapt field1.npy -o adapted.safetensors",
    "train classifier": "train classifier --phases phases.yml -o classifier.safetensors",
    "train joint": "train joint -o joint.safetensors",
}
"""By command, without the program's name."""


def add_examples(app: Any) -> None:
    """Put the examples below the help of the commands of a typer application."""
    for group, prefix in [(app, ""), *((g.typer_instance, f"{g.name} ") for g in app.registered_groups)]:
        for about in group.registered_commands:
            name = prefix + (about.name or about.callback.__name__.replace("_", "-"))
            if "Example: slads-bluesky" in (about.help or about.callback.__doc__ or ""):
                continue
            example = EXAMPLES.get(name, f"{name} --json figures.json" if name.startswith("bench ") else None)
            if example is not None:
                about.epilog = f"Example: slads-bluesky {example}"
