"""HTML that can't be broken by what it shows: text is escaped unless it was built here."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"br", "img", "meta"})


class Markup(str):
    """Text that is HTML already. Only `element`, `joined` and `stylesheet` make it."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """An element with its children.

    Args:
        name: Its tag.
        children: Elements, or plain text, which is escaped; None is left out.
        attributes: A trailing underscore is dropped, others become dashes; True gives the bare name, None and False
            leave it out.

    >>> element("p", "a < b ", element("b", "c"), class_="note", aria_label='"')
    '<p class="note" aria-label="&quot;">a &lt; b <b>c</b></p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        words.append(attribute if value is True else f'{attribute}="{escape(_number(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening) if name in _VOID else Markup(f"{opening}{joined(*children)}</{name}>")


def joined(*children: str | None) -> Markup:
    """Elements and escaped plain text after each other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child, quote=False)
            for child in children
            if child is not None
        )
    )


def stylesheet(rules: str) -> Markup:
    """A style element of rules of our own; they are not escaped.

    Raises:
        ValueError: The rules would end the element.
    """
    if "</" in rules:
        raise ValueError("a stylesheet can't hold '</'")
    return Markup(f"<style>{rules}</style>")


def _number(value: str | float) -> str:
    """Text as it is, numbers without needless digits."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
