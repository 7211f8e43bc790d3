"""Which files discovery looks at, in which order, and what it does about odd ones."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ccos.engine.rune import Inspection
from ccos.errors import ConfigurationError, IsolationError, ResourceExceededError
from ccos.migration import Discoverer, Discovery, DiscoveryConfig, DiscoveryPatterns, Verdict
from ccos.migration.folders import read_content, walk
from ccos.migration.problems import MigrationErrorType
from migration.inspecting import Remembering
from migration.samples import tool, written


def discover(
    inspector: Remembering, *roots: Path, config: DiscoveryConfig | None = None
) -> Discovery:
    async def main() -> Discovery:
        async with inspector.working():
            return await Discoverer(config or DiscoveryConfig(), inspector).discover(*roots)

    return asyncio.run(main())


def names(found: Discovery) -> list[str]:
    return [one.name for one in found.tools]


def places(found: Discovery, root: Path) -> list[str]:
    return [str(one.path.relative_to(root)) for one in found.files]


def test_the_defaults_are_those_of_the_reference() -> None:
    config = DiscoveryConfig()
    assert config.extensions == ("rn", "rune")
    assert config.exclude_dirs == {".git", "node_modules", "target", ".crucible"}
    assert config.exclude_files == {".DS_Store", "Thumbs.db"}
    assert config.max_file_size == 10 * 1024 * 1024
    assert (config.follow_symlinks, config.hot_reload, config.validate_tools) == (False, True, True)
    assert (config.debounce_seconds, config.interval_seconds, config.recursive) == (0.5, 30, True)
    assert config.ignore_patterns == ("*.tmp", "*.bak", ".*")
    assert config.directories == (Path("tools"), Path("rune_tools"))
    patterns = config.patterns
    assert (patterns.direct_tools, patterns.module_tools) == (True, True)
    assert (patterns.semantic_naming, patterns.topic_module_function) == (False, False)
    assert patterns.custom_patterns == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"extensions": (".rn",)},
        {"extensions": ("",)},
        {"extensions": ()},
        {"max_file_size": 0},
        {"interval_seconds": 0},
        {"concurrency": 0},
        {"debounce_seconds": -1},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DiscoveryConfig(**wrong)


def test_files_come_in_the_order_of_their_names(inspector: Remembering, tmp_path: Path) -> None:
    for name in ("b.rn", "a/z.rn", "a/b/c.rn", "a.rn", "ä.rune", "B.RN", "a-b.rn"):
        written(tmp_path, name)
    found = discover(inspector, tmp_path)
    expected = ["B.RN", "a/b/c.rn", "a/z.rn", "a-b.rn", "a.rn", "b.rn", "ä.rune"]
    assert places(found, tmp_path) == sorted(expected, key=lambda one: Path(one).parts)
    assert places(discover(inspector, tmp_path), tmp_path) == places(found, tmp_path)


def test_several_folders_come_in_the_order_given_and_overlap_once(
    inspector: Remembering, tmp_path: Path
) -> None:
    written(tmp_path, "one/a.rn")
    written(tmp_path, "two/b.rn")
    roots = (tmp_path / "two", tmp_path, tmp_path / "one")
    assert places(discover(inspector, *roots), tmp_path) == ["two/b.rn", "one/a.rn"]


def test_a_missing_folder_is_a_warning_and_no_tools(inspector: Remembering, tmp_path: Path) -> None:
    found = discover(inspector, tmp_path / "none")
    assert (found.files, found.total_discovered) == ((), 0)
    assert found.warnings == (f"{tmp_path}/none does not exist.",)
    empty = discover(inspector, tmp_path)
    assert (empty.files, empty.warnings) == ((), ())


def test_the_folders_of_the_configuration_are_searched_if_none_is_named(
    inspector: Remembering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "tools/a.rn")
    written(tmp_path, "elsewhere/b.rn")
    found = discover(inspector)
    assert names(found) == ["a"]
    assert found.warnings == ("rune_tools does not exist.",)


def test_excluded_folders_are_not_entered_but_searched_if_named(
    inspector: Remembering, tmp_path: Path
) -> None:
    for folder in (".git", "node_modules", "target", ".crucible", "mine"):
        written(tmp_path, f"{folder}/{folder.strip('.')}_tool.rn")
    assert names(discover(inspector, tmp_path)) == ["mine_tool"]
    assert names(discover(inspector, tmp_path / ".crucible")) == ["crucible_tool"]
    config = DiscoveryConfig(exclude_dirs=frozenset({"mine"}))
    assert len(discover(inspector, tmp_path, config=config).tools) == 4


def test_only_files_that_may_have_tools_are_looked_at(
    inspector: Remembering, tmp_path: Path
) -> None:
    for name in ("a.rn", "b.txt", "rn", ".hidden.rn", "c.rn.bak", "d.tmp", "Thumbs.db", "e.rn"):
        written(tmp_path, name, tool(name.strip(".").replace(".", "_")))
    assert places(discover(inspector, tmp_path), tmp_path) == ["a.rn", "e.rn"]
    config = DiscoveryConfig(exclude_files=frozenset({"e.rn"}), ignore_patterns=())
    assert places(discover(inspector, tmp_path, config=config), tmp_path) == [".hidden.rn", "a.rn"]
    config = DiscoveryConfig(extensions=("txt",))
    assert places(discover(inspector, tmp_path, config=config), tmp_path) == ["b.txt"]


def test_folders_below_are_searched_unless_told_otherwise(
    inspector: Remembering, tmp_path: Path
) -> None:
    written(tmp_path, "top.rn")
    written(tmp_path, "below/deep.rn")
    assert names(discover(inspector, tmp_path)) == ["deep", "top"]
    assert names(discover(inspector, tmp_path, config=DiscoveryConfig(recursive=False))) == ["top"]


def test_a_single_file_can_be_named(inspector: Remembering, tmp_path: Path) -> None:
    path = written(tmp_path, "a.rn")
    written(tmp_path, "b.rn")
    assert names(discover(inspector, path)) == ["a"]


FOLLOW = DiscoveryConfig(follow_symlinks=True)


def test_links_are_not_followed_unless_asked_for(inspector: Remembering, tmp_path: Path) -> None:
    written(tmp_path, "root/.store/a.data", tool("linked"))
    (tmp_path / "root/z.rn").symlink_to(tmp_path / "root/.store/a.data")
    found = discover(inspector, tmp_path / "root")
    assert (found.files, [one.reason for one in found.skipped]) == ((), ["Links are not followed."])
    found = discover(inspector, tmp_path / "root", config=FOLLOW)
    assert (names(found), found.skipped) == (["linked"], ())


def test_links_never_lead_out_of_the_folder(inspector: Remembering, tmp_path: Path) -> None:
    secret = written(tmp_path, "outside/secret.rn")
    root = tmp_path / "root"
    written(root, "mine.rn")
    (root / "file.rn").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "up").symlink_to("..")
    (root / "nowhere.rn").symlink_to("/no/such/file.rn")
    # A folder beside it whose name only begins like that of the root is outside as well.
    written(tmp_path, "root-2/other.rn")
    (root / "beside").symlink_to(tmp_path / "root-2")
    found = discover(inspector, root, config=FOLLOW)
    assert names(found) == ["mine"]
    assert [(one.path.name, one.reason) for one in found.skipped] == [
        ("beside", "The link leads out of the folder."),
        ("file.rn", "The link leads out of the folder."),
        ("folder", "The link leads out of the folder."),
        ("nowhere.rn", "The link leads nowhere."),
        ("up", "The link leads out of the folder."),
    ]
    assert secret.name not in inspector.inspected


def test_loops_of_links_come_to_an_end(inspector: Remembering, tmp_path: Path) -> None:
    written(tmp_path, "a/b/tool.rn")
    (tmp_path / "a/b/back").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "a-first.rn").symlink_to(tmp_path / "a/b/tool.rn")
    found = discover(inspector, tmp_path, config=FOLLOW)
    # It is found where it really is, although the link comes first by name.
    assert places(found, tmp_path) == ["a/b/tool.rn"]
    assert len(found.skipped) == 3


def test_a_root_that_is_a_link_is_searched(inspector: Remembering, tmp_path: Path) -> None:
    written(tmp_path, "real/a.rn")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = discover(inspector, tmp_path / "link")
    assert names(found) == ["a"]
    assert found.files[0].path == tmp_path / "link" / "a.rn"


def test_a_file_that_is_too_large_is_discovered_and_failed(
    inspector: Remembering, tmp_path: Path
) -> None:
    source = tool("large")
    written(tmp_path, "large.rn", source)
    fits = DiscoveryConfig(max_file_size=len(source))
    assert names(discover(inspector, tmp_path, config=fits)) == ["large"]
    found = discover(inspector, tmp_path, config=DiscoveryConfig(max_file_size=len(source) - 1))
    (report,) = found.files
    assert (found.total_discovered, report.verdict) == (1, Verdict.INVALID)
    assert report.problems[0].type is MigrationErrorType.DISCOVERY_FAILED
    assert f"has {len(source)} bytes" in report.reason
    assert inspector.inspected == ["large.rn"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"pub fn call(a) { \xff }", "not UTF-8 text (byte 17)"),
        (b"// a\n// \x00", "line 2: It has the character U+0000"),
    ],
)
def test_a_file_that_is_no_text_is_discovered_and_failed(
    inspector: Remembering, tmp_path: Path, content: bytes, says: str
) -> None:
    written(tmp_path, "odd.rn", content)
    (report,) = discover(inspector, tmp_path).files
    assert report.verdict is Verdict.INVALID
    assert says in report.reason
    assert report.problems[0].type is MigrationErrorType.DISCOVERY_FAILED


def test_a_byte_order_mark_is_no_part_of_the_text(inspector: Remembering, tmp_path: Path) -> None:
    written(tmp_path, "marked.rn", b"\xef\xbb\xbf" + tool("marked").encode())
    (found,) = discover(inspector, tmp_path).tools
    assert found.source_code == tool("marked")


def test_a_pipe_is_no_file_and_is_not_waited_for(inspector: Remembering, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.rn")
    (report,) = discover(inspector, tmp_path).files
    assert report.reason == "It is no regular file."


def test_a_file_that_became_a_link_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, "root/a.rn")
    (found,) = walk(DiscoveryConfig(), [tmp_path / "root"]).files
    assert read_content(found, DiscoveryConfig())[0] == tool("a").encode()
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(Exception, match="cannot be read"):
        read_content(found, DiscoveryConfig())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_what_may_not_be_read_is_discovered_and_failed(tmp_path_factory: Any) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        root.chmod(0o755)
        written(root, "closed.rn").chmod(0)
        written(root, "open.rn")
        written(root, "folder/a.rn")
        (root / "folder").chmod(0)

        async def main() -> Discovery:
            inspector = Remembering()
            discoverer = Discoverer(DiscoveryConfig(concurrency=1), inspector)
            async with inspector.working():
                await discoverer.read_source(tool("first"))
                os.seteuid(65534)
                try:
                    return await discoverer.discover(root)
                finally:
                    os.seteuid(0)

        found = asyncio.run(main())
    assert names(found) == ["open"]
    assert [(one.path.name, one.verdict.value) for one in found.failed] == [
        ("closed.rn", "invalid"),
        ("folder", "invalid"),
    ]
    assert all("Permission denied" in one.reason for one in found.failed)


def test_two_tools_of_one_name_are_an_error_for_both(
    inspector: Remembering, tmp_path: Path
) -> None:
    first = written(tmp_path, "one/a.rn", tool("same"))
    second = written(tmp_path, "two/b.rn", tool("same"))
    third = written(tmp_path, "two/c.rn", tool("other"))
    found = discover(inspector, tmp_path)
    assert names(found) == ["other"]
    assert [one.path for one in found.failed] == [first, second]
    for report in found.failed:
        assert str(first) in report.reason
        assert str(second) in report.reason
        assert report.problems[0].type is MigrationErrorType.DISCOVERY_FAILED
    assert found.total_discovered == 3
    second.write_text(tool("another"))
    assert names(discover(inspector, tmp_path)) == ["another", "other", "same"]
    assert third.exists()


def test_what_was_read_is_read_again_only_when_it_changed(
    inspector: Remembering, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.rn", tool("first"))
    written(tmp_path, "b.rn")

    async def main() -> None:
        discoverer = Discoverer(DiscoveryConfig(), inspector)
        async with inspector.working():
            await steps(discoverer)

    async def steps(discoverer: Discoverer) -> None:
        await discoverer.discover(tmp_path)
        again = await discoverer.discover(tmp_path)
        assert [one.cached for one in again.files] == [True, True]
        status = path.stat()
        path.write_text(tool("third"))  # as long as before
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (path.stat().st_mtime_ns, path.stat().st_size) == (
            status.st_mtime_ns,
            status.st_size,
        )
        changed = await discoverer.discover(tmp_path)
        assert names(changed) == ["b", "third"]
        assert [one.cached for one in changed.files] == [False, True]

    asyncio.run(main())
    assert sorted(inspector.inspected) == ["a.rn", "a.rn", "b.rn"]


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.started = 0

    async def inspect(self, source: str, name: str) -> Inspection:
        self.started += 1
        await asyncio.sleep(0)
        assert self.error is not None
        raise self.error


def test_a_source_that_takes_the_worker_down_is_failed_and_tried_again(tmp_path: Path) -> None:
    written(tmp_path, "a.rn")
    failing = Failing(ResourceExceededError("The Rune worker died."))
    discoverer = Discoverer(DiscoveryConfig(), failing)
    for _ in range(2):
        (report,) = asyncio.run(discoverer.discover(tmp_path)).files
        assert (report.verdict, report.reason) == (Verdict.INVALID, "The Rune worker died.")
        assert report.problems[0].type is MigrationErrorType.COMPILATION_FAILED
    assert failing.started == 2


def test_without_a_worker_nothing_is_found_and_that_is_said(tmp_path: Path) -> None:
    for number in range(20):
        written(tmp_path, f"{number}.rn")
    failing = Failing(IsolationError("No worker."))
    with pytest.raises(IsolationError, match="No worker"):
        asyncio.run(Discoverer(DiscoveryConfig(), failing).discover(tmp_path))
    assert failing.started <= DiscoveryConfig().concurrency + 1


def test_progress_is_told_after_each_file(inspector: Remembering, tmp_path: Path) -> None:
    for number in range(5):
        written(tmp_path, f"{number}.rn")
    told: list[tuple[int, int]] = []

    async def main() -> None:
        discoverer = Discoverer(DiscoveryConfig(), inspector)
        async with inspector.working():
            await discoverer.discover(tmp_path, progress=lambda done, of: told.append((done, of)))

    asyncio.run(main())
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


MODULES = f"{tool('top')}\npub mod ui {{ {tool('inner')} }}"


def patterned(inspector: Remembering, root: Path, **patterns: Any) -> Discovery:
    config = DiscoveryConfig(patterns=DiscoveryPatterns(**patterns))
    return discover(inspector, root, config=config)


def test_patterns_decide_what_is_a_tool_and_what_it_is_called(
    inspector: Remembering, tmp_path: Path
) -> None:
    written(tmp_path, "notes.rn", MODULES)
    assert names(patterned(inspector, tmp_path)) == ["inner", "top"]
    assert names(patterned(inspector, tmp_path, direct_tools=False)) == ["inner"]
    assert names(patterned(inspector, tmp_path, module_tools=False)) == ["top"]
    long = patterned(inspector, tmp_path, topic_module_function=True)
    assert names(long) == ["notes.ui.inner", "top"]


def test_names_of_modules_are_metadata_and_nothing_else(
    inspector: Remembering, tmp_path: Path
) -> None:
    written(tmp_path, "search/notes.rn", MODULES)
    assert [one.metadata.get("consumers") for one in discover(inspector, tmp_path).tools] == [
        None,
        None,
    ]
    found = patterned(inspector, tmp_path, semantic_naming=True)
    assert [one.metadata["consumers"] for one in found.tools] == ["ui,services", "services"]
    labelled = patterned(
        inspector, tmp_path, custom_patterns={"finders": "search/*", "others": "x/*"}
    )
    assert {one.metadata["patterns"] for one in labelled.tools} == {"finders"}


def test_schemas_are_checked_unless_told_otherwise(inspector: Remembering, tmp_path: Path) -> None:
    written(tmp_path, "a.rn", tool("a", properties='x: #{ type: "strong" }'))
    assert names(discover(inspector, tmp_path)) == []
    assert names(discover(inspector, tmp_path, config=DiscoveryConfig(validate_tools=False))) == [
        "a"
    ]


def test_a_text_from_memory_is_read_like_a_file(inspector: Remembering) -> None:
    async def main() -> None:
        discoverer = Discoverer(DiscoveryConfig(), inspector)
        async with inspector.working():
            report = await discoverer.read_source(tool("a"), "a.rn")
            assert [(one.name, one.file_path) for one in report.tools] == [("a", None)]
            assert (await discoverer.read_source("pub fn")).verdict is Verdict.INVALID

    asyncio.run(main())


def test_a_name_is_bounded_wherever_it_comes_from(inspector: Remembering, tmp_path: Path) -> None:
    for length in (128, 129):
        name = "x" * length
        written(tmp_path, f"{length}.rn", f'#[tool(desc = "A tool.")]\npub fn {name}() {{ 1 }}')
    found = discover(inspector, tmp_path)
    assert names(found) == ["x" * 128]
    assert "has 129 characters; at most 128" in found.failed[0].reason


def test_odd_names_of_files_are_written_out(inspector: Remembering, tmp_path: Path) -> None:
    name = os.fsdecode(b"odd\n\xff.rn")
    written(tmp_path, name, "//! A tool.\npub fn main() { 1 }")
    (tmp_path / "fine.rn").write_text("//! A tool.\npub fn main() { 1 }")
    found = discover(inspector, tmp_path)
    json.dumps(found.as_dict(), ensure_ascii=False).encode()
    assert names(found) == ["fine"]
    assert [one.reason for one in found.failed] == [
        "line 2: The name of the tool has characters that nobody can see."
    ]


def test_a_thousand_files_take_no_longer_than_they_should(
    inspector: Remembering, tmp_path: Path
) -> None:
    for number in range(200):
        written(tmp_path, f"{number % 10}/{number}.rn")
    started = time.perf_counter()
    assert len(discover(inspector, tmp_path).tools) == 200
    assert time.perf_counter() - started < 10
