from __future__ import annotations

from ccos.rtfs import documentation, reference_page
from ccos.rtfs.analysing import CORE, DERIVED
from ccos.rtfs.library import BY_NAME, FUNCTIONS
from ccos.rtfs.reference import FORMS, names


def test_the_page_has_every_form_and_every_function_with_its_examples() -> None:
    page = reference_page()
    for function in FUNCTIONS:
        assert all(f"`{name}`" in page for name in function.names)
        assert all(example in page for example in function.examples)
    listed = {one.name for one in FORMS}
    unlisted = {"unquote", "unquote-splicing", "λ", "export"}
    assert (CORE | DERIVED) - unlisted == listed
    assert {one.name for one in FORMS if one.derived} == DERIVED


def test_every_name_is_documented() -> None:
    assert set(BY_NAME) <= set(names())
    assert all(documentation(name) for name in names())
    assert documentation("no-such-name") is None
    assert "(map inc [1 2]) → [2 3]" in (documentation("map") or "")
