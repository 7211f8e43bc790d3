"""``ccos import``: descriptions of APIs, servers and endpoints become capabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import COMMON, By, Common, read_arguments

app = App(name="import", help="Make capabilities of descriptions of APIs, servers and endpoints.")

DryRun = Annotated[
    bool,
    Parameter(
        name="--dry-run", negative="", help="Say what would be imported and register nothing."
    ),
]
Select = Annotated[
    str | None,
    Parameter(
        name="--select",
        help="Only operations whose name, path, METHOD and path, or id matches this pattern.",
    ),
]
Force = Annotated[
    bool,
    Parameter(
        name="--force",
        negative="",
        help="Register also what breaks callers or was revoked.",
    ),
]
Request = Annotated[
    str | None,
    Parameter(
        name="--request",
        help="Print the request that a call of this operation would send, and send nothing.",
    ),
]
Arguments = Annotated[
    str | None,
    Parameter(
        name="--arguments",
        help="Its arguments: a JSON object, @file, or - for standard input.",
    ),
]


@app.command
async def openapi(
    *sources: Annotated[
        str, Parameter(help="Files, folders or URLs of OpenAPI or Swagger descriptions.")
    ],
    dry_run: DryRun = False,
    select: Select = None,
    allow_external: Annotated[
        list[Literal["files", "egress"]] | None,
        Parameter(
            negative="",
            help="Follow references into files beside the document, or over the network; may be "
            "given twice.",
        ),
    ] = None,
    external: Annotated[
        Literal["open", "quarantine"],
        Parameter(
            help="What a reference that is not followed does: anything is accepted in its place, "
            "or the operation is left out."
        ),
    ] = "open",
    api: Annotated[str | None, Parameter(help="Short name for the API, in place of its title.")] = (
        None
    ),
    base_url: Annotated[
        str | None, Parameter(help="Where the API is, in place of what the description says.")
    ] = None,
    variable: Annotated[
        list[str] | None,
        Parameter(negative="", help="name=value of a variable in the server's URL."),
    ] = None,
    prefer_security: Annotated[
        list[str] | None,
        Parameter(negative="", help="Security scheme to use where several are offered."),
    ] = None,
    request: Request = None,
    arguments: Arguments = None,
    force: Force = False,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Make a capability of every operation of OpenAPI 3 and Swagger 2.0 descriptions.

    What an operation cannot be imported for is said, and the others are imported all the same.
    With --dry-run --json one line a document is printed, and a summary. Exit code 1 if a
    description that was named cannot be read.
    """
    from ccos.interfaces.cli.imports_openapi import Wishes, import_sources, show_request

    if not sources:
        raise UsageError("Name a file, a folder or a URL.")
    if arguments is not None and request is None:
        raise UsageError("--arguments belong to --request.")
    wishes = Wishes(
        select=select,
        files="files" in (allow_external or ()),
        egress="egress" in (allow_external or ()),
        external=external,
        api=api,
        base_url=base_url,
        variables=_pairs("--variable", variable or ()),
        prefer_security=tuple(prefer_security or ()),
    )
    if request is not None:
        if len(sources) != 1:
            raise UsageError("--request needs exactly one description.")
        return await show_request(
            sources[0], wishes, request, read_arguments((), arguments), common
        )
    return await import_sources(sources, wishes, dry_run=dry_run, force=force, by=by, common=common)


@app.command
async def graphql(
    *sources: Annotated[
        str,
        Parameter(help="Schemas: files, folders, URLs of files, or endpoints, which are asked."),
    ],
    endpoint: Annotated[
        str | None, Parameter(help="Where operations are sent; the endpoint that was asked.")
    ] = None,
    subscriptions_endpoint: Annotated[
        str | None, Parameter(help="Where subscriptions are sent, if elsewhere.")
    ] = None,
    api: Annotated[str | None, Parameter(help="Short name for the API.")] = None,
    selection: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="name={ … }: what is asked of the result of a field, in place of what is chosen "
            "by rule.",
        ),
    ] = None,
    depth: Annotated[
        int, Parameter(help="How many objects of a result are selected inside one another.")
    ] = 3,
    cost: Annotated[
        int, Parameter(help="How many values of a result are selected; a list counts as ten.")
    ] = 500,
    token: Annotated[
        str | None, Parameter(help="Environment variable that holds the token of the API.")
    ] = None,
    select: Select = None,
    request: Request = None,
    arguments: Arguments = None,
    dry_run: DryRun = False,
    force: Force = False,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Make a capability of every query, mutation and subscription of GraphQL schemas.

    A schema is its type definitions or the answer to an introspection query. Exit code 1 if a
    schema that was named cannot be read.
    """
    from ccos.importers.graphql import SelectionBudget
    from ccos.interfaces.cli.imports_graphql import Wishes, import_schemas, show_request

    if not sources:
        raise UsageError("Name a file, a folder or a URL.")
    if arguments is not None and request is None:
        raise UsageError("--arguments belong to --request.")
    try:
        budget = SelectionBudget(depth=depth, cost=cost)
    except ValueError as error:
        raise UsageError(f"{error}.".capitalize()) from None
    wishes = Wishes(
        budget=budget,
        endpoint=endpoint,
        subscriptions_endpoint=subscriptions_endpoint,
        api=api,
        select=select,
        selections=_pairs("--selection", selection or ()),
        token=token,
    )
    if request is not None:
        if len(sources) != 1:
            raise UsageError("--request needs exactly one schema.")
        return await show_request(
            sources[0], wishes, request, read_arguments((), arguments), common
        )
    return await import_schemas(sources, wishes, dry_run=dry_run, force=force, by=by, common=common)


@app.command
async def mcp(
    *sources: Annotated[
        str,
        Parameter(
            help="URLs of servers, or programs: pypi:package@version, npm:package@version, "
            "command:/path/of/program."
        ),
    ],
    name: Annotated[
        str | None,
        Parameter(help="Name of the server in the ids; made from its source by default."),
    ] = None,
    arg: Annotated[
        list[str] | None,
        Parameter(negative="", allow_leading_hyphen=True, help="Argument of the program."),
    ] = None,
    env: Annotated[
        list[str] | None,
        Parameter(negative="", help="Environment variable that the program is given."),
    ] = None,
    token: Annotated[
        str | None,
        Parameter(help="Environment variable that holds the token for a server at a URL."),
    ] = None,
    read_only: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Tool that you reviewed and found to change nothing; what a server says of its "
            "tools is not believed.",
        ),
    ] = None,
    dry_run: DryRun = False,
    select: Select = None,
    force: Force = False,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Make capabilities of the tools, resources, templates and prompts of MCP servers.

    The servers are asked what they offer, which starts those that are programs; no tool is called.
    What hides text or has no usable name is left out. Exit code 1 if a server cannot be asked.
    """
    from ccos.interfaces.cli.imports_mcp import import_servers, server_of

    if not sources:
        raise UsageError("Name a URL or a program.")
    if name is not None and len(sources) > 1:
        raise UsageError("--name needs exactly one server.")
    servers = [
        server_of(one, name=name, arguments=arg or (), environment=env or (), token=token)
        for one in sources
    ]
    return await import_servers(
        servers,
        read_only=frozenset(read_only or ()),
        select=select,
        dry_run=dry_run,
        force=force,
        by=by,
        common=common,
    )


@app.command
async def http(
    *sources: Annotated[
        str, Parameter(help="HAR files that a browser saved, or files of examples.")
    ],
    from_curl: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            allow_leading_hyphen=True,
            help="A curl command, @file, or - for standard input. It is read, never run.",
        ),
    ] = None,
    path: Annotated[
        str | None, Parameter(help="Path template for the examples that fit it: /users/{name}.")
    ] = None,
    response_path: Annotated[
        str, Parameter(help="JSON Pointer to the result in the answers, such as /data/items.")
    ] = "",
    fix: Annotated[
        list[str] | None,
        Parameter(negative="", help="Parameter that stays as it is in the example."),
    ] = None,
    name: Annotated[
        str | None, Parameter(help="Id of the capability, where there is one endpoint.")
    ] = None,
    select: Select = None,
    request: Request = None,
    arguments: Arguments = None,
    dry_run: DryRun = False,
    yes: Annotated[
        bool, Parameter(name=("--yes", "-y"), negative="", help="Register without asking.")
    ] = False,
    force: Force = False,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Make capabilities of requests that somebody made: curl commands, HAR files, examples.

    What was learned is shown with its input schema, and registered once you confirm it; without a
    terminal that takes --yes. Secrets are never kept: each becomes the name of an environment
    variable. Examples are {"examples": [{"request": {"method", "url", "headers", "body"},
    "response": {"status", "body"}}]}.
    """
    from ccos.interfaces.cli.imports_http import Lessons, import_examples, show_template

    if not sources and not from_curl:
        raise UsageError("Name a file, or give a command with --from-curl.")
    if arguments is not None and request is None:
        raise UsageError("--arguments belong to --request.")
    lessons = Lessons(
        tuple(sources),
        tuple(from_curl or ()),
        path=path,
        response_path=response_path,
        fixed=tuple(fix or ()),
        name=name,
        select=select,
    )
    if request is not None:
        return show_template(lessons, request, read_arguments((), arguments), common)
    return await import_examples(
        lessons, dry_run=dry_run, yes=yes, force=force, by=by, common=common
    )


def _pairs(option: str, listed: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in listed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair} is not of the form name=value.")
        found[name] = value
    return found
