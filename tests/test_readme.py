"""Is what README.md says true? Every command is run, every excerpt compared, every link followed."""

import re
from collections.abc import Iterator

import pytest
from readme import HERE, Shell, blocks, check

README = (HERE / "README.md").read_text()
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    copy = Shell(tmp_path_factory.mktemp("readme"))
    yield copy
    copy.close()


def test_commands_and_excerpts(shell: Shell) -> None:
    """In one test, since each command builds on those before it."""
    wrong = [sentence for block in blocks(README) for sentence in check(block, shell)]
    assert not wrong, "\n\n".join(wrong)


def test_links() -> None:
    anchors = {heading_anchor(heading) for heading in re.findall(r"^#+ (.+)$", README, re.M)}
    for link in LINK.findall(README):
        name, _, anchor = link.partition("#")
        assert not name or (HERE / name).exists(), link
        assert not anchor or anchor in anchors, link


def test_console_blocks_are_all_checked() -> None:
    """A transcript that nobody runs would drift."""
    lines = README.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("```console"):
            assert lines[number - 1].startswith(("<!-- run", "<!-- then")), f"README.md:{number + 1} isn't run"


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|sql|json|md|html|toml|txt))`", README):
        assert any((folder / name).exists() for folder in (HERE, HERE / ".crossbar")) or name in MADE, name


MADE = {"audit.jsonl", "bench/latest.json"}  # by the node, or the benchmark, when it runs


def heading_anchor(heading: str) -> str:
    """The anchor that a heading gets on the usual forges."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
