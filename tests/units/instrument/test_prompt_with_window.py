"""The prompt of a real IPython with the live window open: it takes what is typed, during maps and after them."""

import importlib
import re
import sys

import pexpect
import pytest

MAPS = 4


@pytest.fixture(params=["tkagg", "qtagg"])
def prompt(request, screen, profile_copy, shared_cache, pbsn_models):
    """An IPython in a terminal of its own, with the profile in mode soft and the window open."""
    if request.param == "qtagg":
        try:
            importlib.import_module("PyQt6.QtWidgets")
        except ImportError:
            pytest.skip("no Qt here")
    profile = profile_copy({"mode: ioc": "mode: soft"})
    environment = {
        **screen, "MPLBACKEND": request.param, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1",
        "XDG_DATA_HOME": str(profile.parent / "data"), "XDG_CACHE_HOME": str(shared_cache),
        "XDG_RUNTIME_DIR": str(profile.parent),
    }  # fmt: skip
    environment.pop("SLADS_INSTRUMENT", None)
    arguments = ["-m", "IPython", f"--profile-dir={profile}", "--no-banner", "--colors=NoColor"]
    child = pexpect.spawn(
        sys.executable, arguments, env=environment, cwd=str(profile.parent), encoding="utf-8",
        timeout=120, dimensions=(40, 200),
    )  # fmt: skip
    child.delaybeforesend = None
    yield child
    child.close(force=True)


def typed(prompt, line, answer):
    """Type a line key by key, and wait for its answer, which is not part of the line."""
    for key in line:
        prompt.send(key)
    prompt.send("\r")
    prompt.expect(re.escape(answer))


@pytest.mark.timeout(900)
def test_prompt_answers_after_each_map_with_a_window(prompt):
    prompt.expect("ready in")
    typed(prompt, "print('pro' + 'mpt', session.live is not None)", "prompt True")
    for i in range(MAPS):
        typed(prompt, f"_ = RE(map_sample('a', fraction=0.02)); print('map', {i} + 100)", f"map {i + 100}")
        typed(prompt, f"print('ali' + 've', {i} + 100)", f"alive {i + 100}")
    typed(prompt, "print('dra' + 'wn', session.live.flush(60), session.live.off == '')", "drawn True True")
    prompt.sendline("exit")
    prompt.expect(pexpect.EOF)
