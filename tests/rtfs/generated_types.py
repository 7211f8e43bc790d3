"""Generated types and values."""

from __future__ import annotations

from hypothesis import strategies as st

from ccos.rtfs.forms import Form, Keyword, Literal, VectorForm
from ccos.rtfs.types import (
    Both,
    Dictionary,
    Entry,
    Enumeration,
    Optional,
    Record,
    Refinement,
    Resource,
    Scalar,
    Sequence,
    Tuple,
    Type,
    Union,
)

names = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
integers = st.integers(-50, 50).map(lambda n: Literal("integer", n))
floats = st.floats(-50, 50, allow_nan=False).map(lambda x: Literal("float", x))
texts = st.text(max_size=6).map(lambda t: Literal("string", t))
sizes = st.integers(0, 6).map(lambda n: Literal("integer", n))
keywords = names.map(Keyword)
constants: st.SearchStrategy[Form] = st.one_of(
    integers,
    floats,
    texts,
    keywords,
    st.sampled_from([Literal("nil", None), Literal("boolean", True)]),
)
SCALARS = "int|float|string|bool|nil|keyword|symbol|timestamp|uuid|any|never"
scalars = st.sampled_from(SCALARS.split("|")).map(Scalar)


def refinement(word: str, *operands: st.SearchStrategy[Form]) -> st.SearchStrategy[Refinement]:
    return st.tuples(*operands).map(lambda found: Refinement(word, found))


number_refinements = st.one_of(
    *(refinement(word, st.one_of(integers, floats)) for word in (">", ">=", "<", "<=")),
    refinement("in-range", integers, integers),
)
text_refinements = st.one_of(
    *(refinement(word, sizes) for word in ("min-length", "max-length", "length")),
    refinement(
        "matches-regex", st.sampled_from(["^a", "[0-9]+", "b$"]).map(lambda t: Literal("string", t))
    ),
    refinement("is-url"),
    refinement("is-email"),
    refinement("non-empty"),
)
count_refinements = st.one_of(
    *(refinement(word, sizes) for word in ("min-count", "max-count", "count")),
    refinement("non-empty"),
)
key_refinements = st.one_of(
    refinement("has-key", keywords),
    refinement("required-keys", st.lists(keywords, max_size=3).map(lambda k: VectorForm(tuple(k)))),
)
any_refinements = st.one_of(refinement("=", constants), refinement("!=", constants))
entries = st.builds(Entry, st.one_of(keywords, texts), scalars, st.booleans())


def records(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.lists(
        st.builds(Entry, keywords, inner, st.booleans()),
        max_size=3,
        unique_by=lambda entry: entry.key,
    ).map(tuple)
    return st.builds(Record, fields, st.one_of(st.none(), inner))


def both(
    base: st.SearchStrategy[Type], *kinds: st.SearchStrategy[Refinement]
) -> st.SearchStrategy[Type]:
    return st.tuples(
        base, st.lists(st.one_of(*kinds, any_refinements), min_size=1, max_size=3)
    ).map(lambda pair: Both((pair[0], *pair[1])))


def nested(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        inner.map(Optional),
        st.builds(Sequence, st.sampled_from(["vector", "list"]), inner),
        st.builds(Sequence, st.just("array"), inner, st.one_of(st.none(), st.integers(0, 4))),
        several.map(Tuple),
        records(inner),
        st.builds(Dictionary, st.one_of(st.just(Scalar("string")), scalars), inner),
        several.map(Union),
        several.map(Both),
        both(st.builds(Sequence, st.just("vector"), inner), count_refinements),
        both(records(inner), count_refinements, key_refinements),
    )


simple: st.SearchStrategy[Type] = st.one_of(
    scalars,
    names.map(Resource),
    st.lists(constants, min_size=1, max_size=3, unique=True).map(lambda v: Enumeration(tuple(v))),
    constants.map(lambda value: Enumeration((value,), single=True)),
    both(st.sampled_from([Scalar("int"), Scalar("float")]), number_refinements),
    both(st.just(Scalar("string")), text_refinements),
    both(scalars, number_refinements, text_refinements, count_refinements),
)
types: st.SearchStrategy[Type] = st.recursive(simple, nested, max_leaves=6)
