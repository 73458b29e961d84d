"""Media types as a source lists them, and what they take."""

import pytest

from hookpost.core.media_types import pattern, takes


@pytest.mark.parametrize("text", ["application/json", "Text/*", "image/svg+xml", "a/b"])
def test_a_pattern_is_kept_in_lower_case(text: str) -> None:
    assert pattern(text) == text.lower()


@pytest.mark.parametrize(
    "text", ["", "json", "*/*", "*", "text/", "/json", "text/plain; charset=utf-8", "a/b/c", "a/b*"]
)
def test_what_is_no_media_type_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        pattern(text)


@pytest.mark.parametrize("headers", [(), ("text/plain", "text/plain"), ("text",), ("te/xt",)])
def test_a_request_names_one_type_that_is_listed(headers: tuple[str, ...]) -> None:
    assert not takes(("text/*",), headers)
    assert takes(("text/*",), ("TEXT/html ;q",))
