"""``ccos import``: what it prints, what it registers, and what it leaves alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from interfaces.conftest import Result, Run

Service = tuple[str, dict[str, Any]]


def description(**changes: Any) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Zoo", "version": "2.1"},
        "servers": [{"url": "https://zoo.example/v1"}],
        "paths": {
            "/pets/{id}": {
                "get": {
                    "operationId": "getPet",
                    "parameters": [
                        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                    ],
                    "responses": {},
                },
            },
            "/pets": {
                "post": {
                    "operationId": "addPet",
                    "security": [{"key": []}],
                    "requestBody": {"content": {"application/json": {"schema": {"type": "array"}}}},
                },
                "get": {"parameters": [{"name": "bad", "in": "nowhere", "required": True}]},
                "trace": [],
            },
        },
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}
        },
        **changes,
    }


def written(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.out.splitlines()]


def test_a_dry_run_says_one_line_a_document_and_touches_nothing(
    ccos: Run, home: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "zoo.json", description())
    result = ccos("import", "openapi", file, "--dry-run", "--json")
    assert result.code == 0, result.err
    line, summary = lines(result)
    seconds = line.pop("seconds")
    assert 0 < seconds < 60
    assert line["document"] == str(file)
    assert (line["title"], line["version"]) == ("Zoo", "2.1")
    assert (line["operations"], line["imported"]) == (4, 3)
    assert line["quarantined"] == [
        {
            "operation": "TRACE /pets",
            "reason": "it is not an object",
            "where": "/paths/~1pets/trace",
        }
    ]
    assert [note["where"] for note in line["notes"]] == ["/paths/~1pets/get/parameters/0"]
    counts = summary["summary"]
    assert (counts["documents"], counts["operations"], counts["imported"]) == (1, 4, 3)
    assert counts["quarantined"] == 1
    assert not home.exists()


def test_a_folder_is_read_as_far_as_it_can_be(ccos: Run, tmp_path: Path) -> None:
    folder = tmp_path / "apis"
    written(folder / "a" / "zoo.yaml", "openapi: 3.0.0\npaths: {/x: {get: {}}}\n")
    written(folder / "b" / "broken.json", "{")
    written(folder / "c.txt", "openapi: 3.0.0")
    result = ccos("import", "openapi", folder, "--dry-run", "--json")
    assert result.code == 0
    good, bad, summary = lines(result)
    assert good["imported"] == 1
    assert good["needs_base_url"] is True
    assert bad["operations"] == 0
    assert bad["quarantined"][0]["operation"] == ""
    assert "cannot be read" in bad["error"]
    assert summary["summary"]["usable"] == 1
    shown = ccos("import", "openapi", folder, "--dry-run")
    assert "1 of 1 operations of 1 of 2 documents imported" in shown.out
    assert "Nothing was registered" in shown.out


def test_progress_of_a_folder_is_on_standard_error(
    ccos: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.interfaces.cli.imports_report._EVERY_SECONDS", 0)
    for number in range(3):
        written(tmp_path / "apis" / f"{number}.json", description())
    result = ccos("import", "openapi", tmp_path / "apis", "--dry-run", "--json")
    assert [line.partition(":")[0] for line in result.err.splitlines()] == [
        "1 of 3", "2 of 3", "3 of 3",
    ]  # fmt: skip
    assert len(lines(result)) == 4
    alone = ccos("import", "openapi", tmp_path / "apis" / "0.json", "--dry-run", "--json")
    assert alone.err == ""


def test_what_is_named_and_cannot_be_read_is_a_failure(ccos: Run, tmp_path: Path) -> None:
    result = ccos("import", "openapi", tmp_path / "absent.json", "--dry-run")
    assert result.code == 1
    assert "cannot be read: No such file" in result.out
    both = ccos(
        "import", "openapi", tmp_path / "absent.json", written(tmp_path / "z.json", description()),
        "--dry-run", "--json",
    )  # fmt: skip
    assert both.code == 1
    assert [line.get("imported") for line in lines(both)] == [0, 3, None]
    assert ccos("import", "openapi", "--dry-run").code == 2


def test_operations_are_registered_once_and_called(
    ccos: Run, service: Service, tmp_path: Path
) -> None:
    url, answers = service
    answers["/pets/ada"] = {"name": "Ada"}
    file = written(tmp_path / "zoo.json", description(servers=[{"url": url}]))
    first = ccos("import", "openapi", file, "--by", "ann", "--json")
    assert first.code == 0, first.err
    assert lines(first)[0]["registered"] == {"registered": 3}
    again = ccos("import", "openapi", file, "--by", "ann", "--json")
    assert lines(again)[0]["registered"] == {"unchanged": 3}
    called = ccos("call", "openapi.zoo.get.getPet", "--arg", "id=ada", "--json")
    assert called.code == 0, called.err
    assert called.json["value"] == {"name": "Ada"}
    shown = ccos("capabilities", "show", "openapi.zoo.get.getPet", "--json").json
    provenance = shown["versions"][0]["manifest"]["provenance"]
    assert (provenance["source"], provenance["reference"]) == ("openapi_document", str(file))
    steps = [(one["step"], one["by"]) for one in provenance["custody_chain"]]
    assert ("approved", "ann") in steps
    assert steps[-1] == ("registered", "ann")
    assert shown["versions"][0]["manifest"]["attestation"]["algorithm"] == "Ed25519"


def test_a_changed_description_gets_a_new_version_and_may_not_break_callers(
    ccos: Run, tmp_path: Path
) -> None:
    file = written(tmp_path / "zoo.json", description())
    assert ccos("import", "openapi", file).code == 0
    changed = description()
    changed["paths"]["/pets/{id}"]["get"]["summary"] = "One pet"
    changed["paths"]["/pets"]["post"]["requestBody"]["required"] = True
    written(file, changed)
    result = lines(ccos("import", "openapi", file, "--json"))[0]
    assert result["registered"] == {"updated": 1, "unchanged": 1}
    assert [one["id"] for one in result["withheld"]] == ["openapi.zoo.post.addPet"]
    assert "break callers" in result["withheld"][0]["reason"]
    versions = ccos("capabilities", "show", "openapi.zoo.get.getPet", "--json").json["versions"]
    assert [one["version"] for one in versions] == ["2.1.0", "2.2.0"]
    forced = lines(ccos("import", "openapi", file, "--force", "--json"))[0]
    assert forced["registered"] == {"updated": 1, "unchanged": 2}
    versions = ccos("capabilities", "show", "openapi.zoo.post.addPet", "--json").json["versions"]
    assert [one["version"] for one in versions] == ["2.1.0", "3.0.0"]


def test_what_was_revoked_stays_so_unless_forced(ccos: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "zoo.json", description())
    one = ["import", "openapi", file, "--select", "getPet", "--json"]
    assert lines(ccos(*one))[0]["registered"] == {"registered": 1}
    assert ccos("capabilities", "revoke", "openapi.zoo.get.getPet", "--reason", "leak").code == 0
    result = lines(ccos(*one))[0]
    assert result["withheld"][0]["reason"] == "it was revoked: leak"
    assert lines(ccos(*one, "--force"))[0]["registered"] == {"updated": 1}
    assert ccos("capabilities", "remove", "openapi.zoo.get.getPet").code == 0
    assert lines(ccos(*one))[0]["registered"] == {"registered": 1}


def test_the_request_is_printed_and_not_sent(ccos: Run, home: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "zoo.json", description())
    words = ["import", "openapi", file, "--request"]
    for name in ("getPet", "GET /pets/{id}", "openapi.zoo.get.getPet"):
        result = ccos(*words, name, "--arguments", '{"id": "a b"}', "--json")
        assert result.code == 0, result.err
        assert result.json["method"] == "GET"
        assert result.json["url"] == "https://zoo.example/v1/pets/a%20b"
    post = ccos(*words, "addPet", "--arguments", '{"body": [1]}')
    assert "POST https://zoo.example/v1/pets" in post.out
    assert "x-key: $ZOO_TOKEN" in post.out
    assert post.out.rstrip().endswith("[1]")
    wrong = ccos(*words, "getPet", "--arguments", "{}")
    assert wrong.code == 1
    assert "id" in wrong.err
    assert ccos(*words, "nothing").code == 4
    assert "it is not an object" in ccos(*words, "TRACE /pets").err
    assert ccos("import", "openapi", tmp_path, "--request", "getPet").code == 2
    assert ccos("import", "openapi", file, "--arguments", "{}").code == 2
    assert not home.exists()


def test_other_files_are_read_only_where_that_is_allowed(ccos: Run, tmp_path: Path) -> None:
    written(tmp_path / "outside.json", {"S": {"type": "integer"}})
    written(tmp_path / "apis" / "schemas.json", {"S": {"type": "boolean"}})
    body = {"content": {"application/json": {"schema": {"$ref": "schemas.json#/S"}}}}
    outside = {"content": {"application/json": {"schema": {"$ref": "../outside.json#/S"}}}}
    paths = {"/in": {"post": {"requestBody": body}}, "/out": {"post": {"requestBody": outside}}}
    file = written(tmp_path / "apis" / "zoo.json", description(paths=paths))
    words = ["import", "openapi", file, "--dry-run", "--json"]
    assert [len(lines(ccos(*words))[0][key]) for key in ("quarantined", "notes")] == [0, 2]
    strict = [*words, "--external", "quarantine"]
    assert len(lines(ccos(*strict))[0]["quarantined"]) == 2
    allowed = lines(ccos(*strict, "--allow-external", "files"))[0]
    assert [one["operation"] for one in allowed["quarantined"]] == ["POST /out"]


def test_a_url_is_fetched_and_what_it_refers_to_only_if_allowed(
    ccos: Run, service: Service
) -> None:
    url, answers = service
    body = {"content": {"application/json": {"schema": {"$ref": "schemas.json#/S"}}}}
    answers["/zoo.json"] = description(
        paths={"/in": {"post": {"requestBody": body}}}, servers=[{"url": "/v1"}]
    )
    answers["/schemas.json"] = {"S": {"type": "boolean"}}
    words = ["import", "openapi", f"{url}/zoo.json", "--external", "quarantine", "--json"]
    assert lines(ccos(*words, "--dry-run"))[0]["imported"] == 0
    allowed = ccos(*words, "--allow-external", "egress")
    assert lines(allowed)[0]["registered"] == {"registered": 1}, allowed.err
    assert ccos("import", "openapi", f"{url}/absent.json", "--dry-run").code == 1


def test_server_variables_names_and_bases_are_given(ccos: Run, tmp_path: Path) -> None:
    servers = [{"url": "https://{region}.zoo.example"}]
    file = written(tmp_path / "zoo.json", description(servers=servers))
    words = [
        "import",
        "openapi",
        file,
        "--request",
        "getPet",
        "--arguments",
        '{"id": "1"}',
        "--json",
    ]
    given = ccos(*words, "--variable", "region=eu", "--api", "animals").json
    assert given["url"] == "https://eu.zoo.example/pets/1"
    assert given["capability"] == "openapi.animals.get.getPet"
    assert ccos(*words, "--base-url", "https://b.example/x").json["url"] == (
        "https://b.example/x/pets/1"
    )
    assert ccos(*words, "--variable", "region").code == 2


LIBRARY = Path(__file__).parents[1] / "providers" / "mcp_library_server.py"


def test_an_mcp_server_is_imported_with_all_it_offers(ccos: Run, tmp_path: Path) -> None:
    words = ["import", "mcp", f"command:{sys.executable}", "--name", "library", "--json",
             "--arg", LIBRARY, "--arg", tmp_path / "changed"]  # fmt: skip
    dry = ccos(*words, "--dry-run")
    assert dry.code == 0, dry.err
    assert (lines(dry)[0]["title"], lines(dry)[0]["imported"]) == ("library", 6)
    assert lines(ccos(*words))[0]["registered"] == {"registered": 6}
    assert lines(ccos(*words))[0]["registered"] == {"unchanged": 6}
    read = ccos("call", "mcp.library.resource.book", "--arg", 'id="7"', "--json")
    assert read.json["value"] == "read library://books/7"
    (tmp_path / "changed").touch()
    changed = lines(ccos(*words))[0]
    assert changed["registered"] == {"updated": 2, "unchanged": 4}
    assert {
        "path": "/description",
        "before": "The rules.",
        "after": "The rules. And more.",
    } in changed["changed"]["mcp.library.resource.rules"]
    assert set(changed["changed"]) == {"mcp.library.resource.rules", "mcp.library.prompt.summary"}
    tool = ccos("capabilities", "show", "mcp.library.announce", "--json").json["versions"][0]
    assert tool["effect_type"] == "effectful"
    assert tool["manifest"]["metadata"]["claims"] == '{"readOnlyHint": true}'


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["ftp://x"],
        ["pypi:x"],
        ["command:"],
        ["https://x.example", "--arg", "a"],
        ["pypi:x@1", "--token", "T"],
        ["pypi:x@1", "--env", "not a name"],
        ["pypi:x@1", "pypi:y@1", "--name", "z"],
    ],
)
def test_what_is_no_mcp_server(ccos: Run, home: Path, words: list[str]) -> None:
    assert ccos("import", "mcp", *words).code == 2
    assert not home.exists()


def test_an_mcp_server_that_does_not_start_is_a_failure(ccos: Run) -> None:
    result = ccos("import", "mcp", "command:/nowhere/at/all", "--json")
    assert result.code == 1
    assert lines(result)[0]["error"]


CURL = "curl 'https://shop.example/items/42?lang=en' -H 'X-Api-Key: hunter2'"


def test_a_curl_command_is_shown_and_registered_once_it_is_confirmed(ccos: Run) -> None:
    words = ["import", "http", "--from-curl", CURL]
    refused = ccos(*words)
    assert refused.code == 2
    assert "no terminal to ask at" in refused.err
    assert ccos(*words, "--json").code == 2
    dry = ccos(*words, "--dry-run")
    assert dry.code == 0
    assert '"item_id": {' in dry.out
    assert "SHOP_EXAMPLE_X_API_KEY" in dry.out
    done = ccos(*words, "--yes", "--by", "ann", "--name", "shop.item", "--json")
    assert done.code == 0, done.err
    assert lines(done)[0]["registered"] == {"registered": 1}
    assert lines(done)[0]["capabilities"][0]["id"] == "shop.item"
    shown = ccos("capabilities", "show", "shop.item", "--json")
    assert shown.json["versions"][0]["manifest"]["provenance"]["source"] == "http_example"
    assert "hunter2" not in dry.out + done.out + shown.out


def test_a_terminal_is_asked(ccos: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    asked = []

    async def confirmed(session: Any, verb: str, *, yes: bool) -> bool:
        asked.append(verb)
        return answers.pop(0)

    monkeypatch.setattr("ccos.interfaces.cli.imports_http.confirmed", confirmed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    words = ["import", "http", "--from-curl", CURL]
    assert "Nothing was registered" in ccos(*words).err
    assert "Registered: 1 registered" in ccos(*words).out
    assert asked == ["Register 1 capability"] * 2


def test_the_request_of_a_learned_endpoint_is_printed(ccos: Run, home: Path) -> None:
    words = ["import", "http", "--from-curl", CURL, "--arguments"]
    given = '{"item_id": 7, "lang": "de"}'
    for name in ("GET /items/{item_id}", "http.shop_example.get.items.item_id"):
        shown = ccos(*words, given, "--request", name, "--json").json
        assert shown["url"] == "https://shop.example/items/7?lang=de"
        assert shown["headers"]["x-api-key"] == "$SHOP_EXAMPLE_X_API_KEY"
    assert ccos(*words, "{}", "--request", name).code == 1
    assert ccos(*words, "{}", "--request", "x").code == 4
    assert ccos(*words, "{}").code == 2
    assert not home.exists()


def test_files_of_examples_are_learned_from(ccos: Run, tmp_path: Path, service: Service) -> None:
    url, answers = service
    answers["/items/7"] = {"data": {"name": "tea"}}
    examples = [
        {"request": {"url": f"{url}/items/{n}"}, "response": {"body": {"data": {"name": "x"}}}}
        for n in (1, 2)
    ]
    file = written(tmp_path / "examples.json", {"examples": [*examples, {"request": {}}]})
    words = ["import", "http", file, "--response-path", "/data", "--name", "shop.item"]
    done = ccos(*words, "--yes", "--json")
    assert done.code == 0, done.err
    assert lines(done)[0]["quarantined"][0]["where"] == "/examples/2"
    called = ccos("call", "shop.item", "--arg", "item_id=7", "--json")
    assert called.json["value"] == {"name": "tea"}
    command = written(tmp_path / "command.txt", CURL)
    assert ccos("import", "http", "--from-curl", f"@{command}", "--dry-run").code == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--from-curl", "wget x"],
        ["--from-curl", CURL, "--from-curl", "curl https://b.example", "--name", "x", "--dry-run"],
    ],
)
def test_what_teaches_nothing(ccos: Run, words: list[str]) -> None:
    assert ccos("import", "http", *words, *(["--dry-run"] if words else [])).code in (1, 2)


SCHEMA = """
type Query { book(id: ID!): Book }
type Mutation { addBook(title: String!): Book }
type Book { id: ID! title: String }
"""


def test_a_graphql_schema_is_imported(ccos: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "shop.graphql", SCHEMA)
    words = ["import", "graphql", file, "--endpoint", "https://shop.example/graphql", "--json"]
    dry = ccos(*words, "--dry-run")
    assert dry.code == 0, dry.err
    assert (lines(dry)[0]["operations"], lines(dry)[0]["imported"]) == (2, 2)
    assert lines(dry)[0]["quarantined"] == []
    assert lines(ccos(*words))[0]["registered"] == {"registered": 2}
    assert lines(ccos(*words))[0]["registered"] == {"unchanged": 2}
    request = [*words, "--arguments", '{"id": "7"}', "--request"]
    for name in ("book", "query.book"):
        shown = ccos(*request, name).json
        assert shown["url"] == "https://shop.example/graphql"
        assert json.loads(shown["body"])["variables"] == {"id": "7"}
    chosen = ccos(*request, "book", "--selection", "book={ title }").json
    assert "id title" not in " ".join(json.loads(chosen["body"])["query"].split())
    assert ccos(*request, "nothing").code == 4
    assert ccos("import", "graphql", tmp_path / "absent.graphql", "--dry-run").code == 1
    assert ccos("import", "graphql", "--dry-run").code == 2
    folder = ccos("import", "graphql", tmp_path, "--dry-run", "--json")
    assert lines(folder)[0]["needs_base_url"] is True


def test_how_much_of_a_graphql_result_is_selected_can_be_said(ccos: Run, tmp_path: Path) -> None:
    text = "type Query { book: Book } type Book { id: ID author: Author } type Author { name: Int }"
    file = written(tmp_path / "deep.graphql", text)
    words = ["import", "graphql", file, "--endpoint", "https://x.example/", "--json"]
    asked = [*words, "--request", "book", "--arguments", "{}"]
    assert "author" in ccos(*asked).json["body"]
    assert "author" not in ccos(*asked, "--depth", 1).json["body"]
    assert "author" not in ccos(*asked, "--cost", 1).json["body"]
    assert ccos(*words, "--dry-run", "--depth", 0).code == 2
