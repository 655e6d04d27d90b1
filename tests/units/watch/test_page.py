"""The page in real Chromium, over a real server in a process of its own: what a user clicks, points at and sees."""

import urllib.error
import urllib.request

import pytest
from watch_page import text_until

from slads_bluesky.record import Journal


def _middle_of(page, card):
    box = page.locator(f"#card_{card} .plot").bounding_box()
    return box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.45


def test_page_without_the_token_shows_the_form_and_nothing_else(served):
    bare = served.url.partition("?")[0]
    with urllib.request.urlopen(bare) as answer:
        text = answer.read().decode()
    assert "Token" in text
    assert "outbox" not in text
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{bare}login", data=b"token=wrong")


def test_page_shows_the_newest_map_its_phases_and_what_is_under_the_pointer(served, browse):
    page = browse(served.url, theme="dark")
    text_until(page, "#strip", "250")
    assert "token" not in page.url
    assert page.locator("#sample").text_content().startswith("solder")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    text_until(page, "#phases", "Sn")
    text_until(page, "#verdicts", "classified")
    page.mouse.move(*_middle_of(page, "left"))
    text_until(page, "#pixel", "row")
    text_until(page, "#pixel_facts", "measured: ")
    page.mouse.click(*_middle_of(page, "left"))
    text_until(page, "#pixel", "pinned")
    page.mouse.move(5, 5)
    assert "pinned" in page.locator("#pixel").text_content()
    page.keyboard.press("Escape")
    text_until(page, "#pixel", "newest point")


def test_layer_and_axis_are_kept_over_a_reload(served, browse):
    page = browse(served.url)
    page.click("button[data-side=left][data-layer=order]")
    text_until(page, "#left_legend", "order of measurement")
    page.click("button[data-axis=dose]")
    page.click("#theme")
    page.reload()
    page.wait_for_selector("button[data-side=left][data-layer=order][aria-checked=true]")
    page.wait_for_selector("button[data-axis=dose][aria-checked=true]")
    page.wait_for_selector("html[data-theme=dark]")
    text_until(page, "#left_legend", "order of measurement")


def test_list_finds_runs_by_sample_and_day(served, record, browse):
    page = browse(served.url)
    row = f"#runs li[data-uid='{record.uid}']"
    page.wait_for_selector(row)
    page.fill("#find", "no such sample")
    text_until(page, "#runs", "no runs")
    page.fill("#find", "SOLD")
    page.wait_for_selector(row)
    page.fill("#since", "2100-01-01")
    text_until(page, "#runs", "no runs")
    page.fill("#since", "")
    page.wait_for_selector(row)


def test_two_browsers_follow_a_growing_map_over_a_restart_of_the_server(served, record, browse):
    """The map grows, one browser reloads in mid-run, the server restarts; both show the map to its end."""
    growing = [
        (name, {**doc, **({"uid": "f" * 36, "sample": "grows", "scan_id": 77} if name == "start" else {}),
                **({"run_start": "f" * 36} if "run_start" in doc else {})})
        for name, doc in record.documents
    ]  # fmt: skip
    thirds = [growing[: len(growing) // 3], growing[len(growing) // 3 : -40], growing[-40:]]
    first, second = browse(served.url), browse(served.url)
    with Journal(record.path / "journal") as journal:
        for name, doc in thirds[0]:
            journal(name, doc)
        for page in (first, second):
            text_until(page, "#sample", "grows")
            page.wait_for_selector("#status.measuring")
        second.reload()
        for name, doc in thirds[1]:
            journal(name, doc)
        measured = str(sum(name == "event" for name, _ in thirds[0] + thirds[1]) - 3)  # a rough lower bound
        for page in (first, second):
            page.wait_for_function(
                "n => parseInt(document.querySelector('#strip div:nth-child(2) dd')?.textContent) >= n * 0.9",
                arg=int(measured),
            )
        second.click(f"#runs li[data-uid='{record.uid}'] button")  # beside it
        text_until(second, "#right_title", "solder")
        served.stop()
        first.wait_for_selector("#lost:not([hidden])")
        served.start()
        first.wait_for_selector("#lost", state="hidden")
        for name, doc in thirds[2]:
            journal(name, doc)
    for page in (first, second):
        page.wait_for_selector("#status.success")
        text_until(page, "#strip", "250")
    text_until(second, "#right_title", "solder")
