"""Is what README.md and docs/ say true? Every command is run, every excerpt compared, every link followed."""

import re
from pathlib import Path

import pytest
import yaml
from readme import HERE, PAGES, StandIns, blocks, check, shell
from test_sessions import WATCHER

LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|sql|json|yaml|md|html|toml|txt|mjs|sh))`")
PLACES = ("", ".crossbar", "src/wampauth", "src/wampauth/store", "src/wampauth/testing", "src/wampauth/worker")
MADE = {"audit.jsonl", "tools/bench/latest.json", "config.yaml"}  # when something runs, or by the reader
METHODS = ("enrolment", "passwords", "certificates", "jwt", "http", "other-languages")  # more ways to prove who one is
LONGEST = {"README.md": 350, **{f"docs/{page}.md": 80 for page in METHODS}}  # lines
LONGEST_OTHER = 160
NOT_OF_THE_FIELD = re.compile(r"\b(doors?|fences?|fenced|twins?|house|manage\.py|python node\.py)\b", re.I)
PRIVATE = re.compile(
    r"\b(doors?|fences?|fenced|twins?|house|manage\.py|python node\.py)\b", re.I
)  # not the field's words

pages = pytest.mark.parametrize("page", PAGES)
no_history = pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/from-")])


def text_of(page: str) -> str:
    return (HERE / page).read_text()


@pages
def test_commands_and_excerpts(page: str) -> None:
    """In one test a page, since each command builds on those before it."""
    with shell() as copy:
        wrong = [sentence for block in blocks(page) for sentence in check(block, copy)]
    assert not wrong, "\n\n".join(wrong)


@pages
def test_links(page: str) -> None:
    for link in LINK.findall(text_of(page)):
        name, _, anchor = link.partition("#")
        target = ((HERE / page).parent / name).resolve() if name else HERE / page
        assert target.exists(), link
        assert target.is_relative_to(HERE), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    return {heading_anchor(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.M)}


def heading_anchor(heading: str) -> str:
    """The anchor that a heading gets on the usual forges."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pages
def test_console_blocks_are_all_checked(page: str) -> None:
    """A transcript that nobody runs would drift."""
    lines = text_of(page).splitlines()
    for number, line in enumerate(lines):
        if line.startswith("```console"):
            assert lines[number - 1].startswith(("<!-- run", "<!-- then")), f"{page}:{number + 1} isn't run"


@no_history
def test_files_that_are_named_exist(page: str) -> None:
    written = {block.argument for block in blocks(page) if block.what == "file"}
    for name in FILE.findall(text_of(page)):
        assert any((HERE / place / name).exists() for place in PLACES) or name in MADE | written, name


@pages
def test_a_page_can_be_read_at_one_sitting(page: str) -> None:
    assert len(text_of(page).splitlines()) <= LONGEST.get(page, LONGEST_OTHER)


@pages
def test_a_file_to_save_is_named_before_it_is_shown(page: str) -> None:
    """Where a reader sees it: comments of Markdown aren't shown."""
    for block in blocks(page):
        if block.what == "file":
            before = text_of(page).partition(f"<!-- file: {block.argument} -->")[0]
            assert f"`{block.argument}`" in before, block.argument


@no_history
def test_the_words_are_those_of_the_field(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.S | re.M)
    assert not NOT_OF_THE_FIELD.findall(prose)


def test_the_role_for_those_who_want_less_is_the_one_that_is_tested() -> None:
    (shown,) = re.findall(r"^- name: watcher\n.*?(?=^```$)", text_of("docs/sessions.md"), re.S | re.M)
    (role,) = yaml.safe_load(shown)
    assert [{"match": "exact", **rule} for rule in role["permissions"]] == WATCHER["permissions"]


def test_every_page_can_be_found() -> None:
    """From README.md, by links."""
    linked = {link.partition("#")[0] for link in LINK.findall(text_of("README.md"))}
    assert set(PAGES) - {"README.md"} <= linked


def test_unlike_values_have_unlike_stand_ins() -> None:
    stand_in = StandIns()
    line = f"pubkey={'a' * 64} challenge={'b' * 64} session=1234567890123456 credential={'c' * 16} again={'a' * 64}"
    shown = [field.partition("=")[2] for field in stand_in(line).split()]
    assert len(set(shown)) == 4
    assert shown[0] == shown[-1]
    assert shown == [field.partition("=")[2] for field in stand_in(line).split()]
    assert not {"a" * 64, "1234567890123456", "c" * 16} & set(shown)


def test_the_stand_ins_are_the_same_in_each_run() -> None:
    """Whatever the values are, so long as they come in the same order."""
    assert StandIns()(f"{'a' * 64} {'b' * 64} {'1' * 15}") == StandIns()(f"{'c' * 64} {'d' * 64} {'2' * 16}")
