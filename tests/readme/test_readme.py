"""The documents of the top folder are done as they stand, and every document names only what exists.

Every block is run, in order, in one folder, or stands in a list with a reason. What a reader would have at hand
(images, a Redis) is laid out before; where a reader would wait for something or do something else meanwhile, so does
this test.
"""

import re
import shlex
import tomllib

import pytest
import typer
from readme_blocks import (
    README,
    ROOT,
    all_blocks,
    blocks,
    documents,
    how_to_blocks,
    other_blocks,
    spans,
    text_of,
)
from readme_exceptions import NOT_RUN, SHOWN
from readme_world import look

from slads_bluesky.cli import app

EVERY = all_blocks() + all_blocks(top=True)


def parse(arguments):
    """Let the command line parse arguments without doing anything; an error says what is wrong with them."""
    group = typer.main.get_command(app)
    context, rest = group.make_context("slads-bluesky", list(arguments)), list(arguments)
    command = group
    while hasattr(command, "resolve_command") and rest:
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
    return context


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "block", [b for b in all_blocks(top=True) if b.first not in NOT_RUN and b.language not in SHOWN], ids=str
)
def test_block_of_the_readme_does_what_it_says(block, reader):
    reader.read(block)
    look(block, reader)


# ---- what is not run


@pytest.mark.parametrize("first", NOT_RUN)
def test_block_that_is_not_run_names_what_exists(first):
    found = [block for block in EVERY if block.first == first]
    assert found, "the list of what is not run has something that is gone"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in (part for line in found[0].commands for part in line.split("  #")[0].split(" && ")):
        program, *arguments = shlex.split(command)
        if program.removeprefix(".venv/bin/") == "slads-bluesky":
            parse(arguments)
        for names in re.findall(r"\[([\w,]+)\]", command):
            assert set(names.split(",")) <= set(extras)
        for folder in re.findall(r"tests/\w+(?:/\w+)?", command):
            assert (ROOT / folder).is_dir()


def test_blocks_of_the_site_are_each_in_one_part():
    parts = [*how_to_blocks("a", "p"), *how_to_blocks("q", "s"), *how_to_blocks("t", "z"), *other_blocks()]
    assert sorted(map(str, parts)) == sorted(map(str, all_blocks()))


def test_blocks_are_of_languages_that_are_run_or_shown():
    assert {block.language for block in EVERY} == {"console", "ipython", "python", "yaml", *SHOWN}


@pytest.mark.parametrize("document", documents())
def test_document_names_only_commands_that_exist(document):
    for span in spans(text_of(document)):
        if span.startswith("slads-bluesky "):
            words = shlex.split(span)[1:]
            try:
                parse([word for word in words if word != "…"])
            except Exception as error:
                if type(error).__name__ != "MissingParameter":  # a command that is only named
                    raise


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_document_of_the_top_folder_links_to_files_that_exist(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(document)):
        assert (ROOT / target).exists(), target


def test_readme_is_at_most_150_lines():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_table_names_every_command():
    table = text_of("README.md").split("| command |")[1].split("\n\n")[0]
    rows = re.findall(r"`([\w …-]+)`", table)
    group = typer.main.get_command(app)
    assert {row.split()[0] for row in rows} == set(group.commands)
    trained = {row.split()[1] for row in rows if row.startswith("train ")}
    assert trained == set(group.commands["train"].commands)


def test_blocks_in_a_text_are_found_with_their_sections():
    text = "# T\n\n```console\n$ echo new\n```\n\n```{toctree}\na\n```\n\n## U\n\n```yaml\na: 1\n```\n"
    found = blocks(text)
    assert [(b.language, b.section, b.line, b.first) for b in found] == [
        ("console", "T", 3, "$ echo new"),
        ("yaml", "U", 13, "a: 1"),
    ]
    assert found[0].commands == ["echo new"]
