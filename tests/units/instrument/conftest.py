"""A copy of the profile in a scratch folder, and a real IPython over it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from virtual_screen import screen  # noqa: F401 (fixture)

PROFILE = Path(__file__).parents[3] / "profile"


@pytest.fixture(scope="session")
def profile_copy(tmp_path_factory):
    """``profile_copy(changes)``: the profile, with texts of its instrument.yml replaced."""

    def copy(changes=()):
        profile = tmp_path_factory.mktemp("session") / "profile"
        shutil.copytree(PROFILE, profile, ignore=shutil.ignore_patterns("history*", "log", "pid", "security"))
        text = (profile / "instrument.yml").read_text()
        for old, new in dict(changes).items():
            assert old in text
            text = text.replace(old, new)
        (profile / "instrument.yml").write_text(text)
        return profile

    return copy


@pytest.fixture(scope="session")
def ipython(shared_cache, pbsn_models):
    """``ipython(profile, lines)``: what a person who types these lines sees."""

    def run(profile, lines):
        environment = {**os.environ, "XDG_DATA_HOME": str(profile.parent / "data"), "OMP_NUM_THREADS": "1"}
        environment["XDG_CACHE_HOME"] = str(shared_cache)
        environment.pop("SLADS_INSTRUMENT", None)
        command = [
            sys.executable,
            "-m",
            "IPython",
            f"--profile-dir={profile}",
            "--simple-prompt",
            "--no-banner",
        ]
        return subprocess.run(
            command,
            input="\n".join([*lines, "exit", ""]),
            env=environment,
            cwd=profile.parent,
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run
