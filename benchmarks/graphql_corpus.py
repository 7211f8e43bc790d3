"""How many root fields of real GraphQL schemas become capabilities whose documents are valid.

Run with ``python benchmarks/graphql_corpus.py DIR``: every ``.graphql``, ``.gql`` and ``.graphqls``
file in the folder, and every ``.json`` file with an introspection result, is imported in this
process. Each document is validated by graphql-core against the schema as graphql-core itself reads
it. Seconds are of the processor, for the import alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import graphql

from ccos.capabilities import GraphQlProvider
from ccos.errors import CcosError
from ccos.importers.graphql import ImportedApi, import_graphql

SDL = (".graphql", ".gql", ".graphqls")


def core(content: bytes, suffix: str) -> graphql.GraphQLSchema:
    """The schema as graphql-core reads it."""
    if suffix in SDL:
        text = content.decode()
        return graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)
    answer: Any = json.loads(content)
    return graphql.build_client_schema(answer.get("data", answer), assume_valid=True)


def root_fields(schema: graphql.GraphQLSchema) -> int:
    """How many fields the schema offers."""
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    return sum(len(root.fields) for root in roots if root)


def valid(api: ImportedApi, schema: graphql.GraphQLSchema) -> int:
    """How many capabilities have a document that fits the schema."""
    found = 0
    for one in api.capabilities:
        assert isinstance(one.provider, GraphQlProvider)
        faults = graphql.validate(schema, graphql.parse(one.provider.document))
        for fault in faults[:1]:
            print(f"    {one.id}: {fault.message}")
        found += not faults
    return found


def main() -> None:
    """Import a folder and print one line a schema."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    fields = imported = good = 0
    spent = 0.0
    for file in sorted(options.folder.rglob("*")):
        if file.suffix not in (*SDL, ".json") or not file.is_file():
            continue
        content = file.read_bytes()
        started = time.process_time()
        try:
            api = import_graphql(
                content, location=str(file), endpoint="https://api.example/graphql"
            )
        except CcosError as error:
            print(f"{file.name}: {error.message}")
            continue
        seconds = time.process_time() - started
        schema = core(content, file.suffix)
        offered, fitting = root_fields(schema), valid(api, schema)
        print(
            f"{file.name}: {offered} fields, {len(api.capabilities)} imported, {fitting} valid, "
            f"{len(api.quarantined)} quarantined, {len(api.notes)} notes, {seconds:.2f} s"
        )
        fields += offered
        imported += len(api.capabilities)
        good += fitting
        spent += seconds
    share = 100 * good / max(1, fields)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"all: {fields} fields, {imported} imported, {good} valid ({share:.2f} %)")
    print(f"     {spent:.2f} s of processor time, peak memory {peak} MB")


if __name__ == "__main__":
    main()
