"""The command line as a whole: what is missing is one line, and every command's help shows how it is typed."""

import re
import shlex

import pytest
import typer

from slads_bluesky.cli import app, main


def _commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_main_without_a_required_argument_is_one_line_that_names_it(path, capsys):
    missing = [parameter for parameter in COMMANDS[path].params if parameter.required]
    if not missing:
        assert COMMANDS[path].callback is not None
        return
    with pytest.raises(SystemExit) as end:
        main(list(path))
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"slads-bluesky {' '.join(path)}: Missing ")
    assert line.endswith("--help`")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["runs", "--nosuch"], "--nosuch"),
        (["estimate", "16x16", "--fraction", "x"], "'--fraction'"),
    ],
)
def test_main_with_a_wrong_word_is_one_line_that_names_it(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_a_command_ends_with_an_example_that_can_be_typed(path):
    command = COMMANDS[path]
    example = re.search(r"Example: (slads-bluesky .*)", f"{command.help}\n{command.epilog}")
    words = shlex.split(example[1])[1:]
    assert tuple(words[: len(path)]) == path
    command.make_context(" ".join(path), words[len(path) :])  # the parser takes it
