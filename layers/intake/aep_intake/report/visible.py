"""Texts of other people's, such as keys, made safe to show to people."""

import re

# Controls, marks that turn the direction of text, halves of surrogates: terminals and browsers obey
# them, or cannot show them. Line ends are those of JSON.
UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    """A text of which everything is seen: what cannot be printed is written out."""
    text = text.replace("\n", "\\n")
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
