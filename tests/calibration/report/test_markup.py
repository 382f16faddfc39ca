"""What is shown can't become markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.report.markup import element, joined, stylesheet

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=40)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXT, TEXT)
def test_any_text_and_any_attribute_survive(text: str, value: str) -> None:
    reader = Reader()
    reader.feed(element("p", text, element("b", text), title=value))
    reader.close()
    assert reader.tags == ["p", "b"]
    assert reader.text == text * 2
    assert reader.attributes == [("title", value)]


def test_attributes() -> None:
    assert element("td", class_="a", aria_label="b", colspan=None, hidden=False) == '<td class="a" aria-label="b"></td>'
    assert element("input", disabled=True) == "<input disabled></input>"
    assert element("rect", x=1.23456, y=2.0) == '<rect x="1.23" y="2"></rect>'
    assert element("img", src="a", alt="") == '<img src="a" alt="">'
    assert element("meta", name="viewport", content="b") == '<meta name="viewport" content="b">'


def test_nothing_and_markup_are_joined_as_they_are() -> None:
    assert joined("a<", None, element("b", "c")) == "a&lt;<b>c</b>"


def test_stylesheet_can_t_end_itself() -> None:
    assert stylesheet("a > b {}") == "<style>a > b {}</style>"
    with pytest.raises(ValueError, match="can't hold"):
        stylesheet("</style><script>")
