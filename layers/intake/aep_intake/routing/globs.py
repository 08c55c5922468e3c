"""Patterns for object keys: globs with named placeholders.

They mean the same as in `glob.translate(…, recursive=True, include_hidden=True, seps="/")`. That
function is not used for three reasons: its regular expressions take minutes over a long hostile key
(`*-*-*-*-*.json` against a thousand dashes), its `[!x]` fits a slash, and its `**/` fits no empty
folder, which S3 keys such as `/a` and `a//b` have. Here every wildcard but the last of a segment
stops for good at the first place where the text after it fits, and every `**` but the last at the
first folders that fit. That loses no match, leaves nothing to backtrack over, and gives each
placeholder one value, which the pattern alone decides.
"""

import re

# The tokens of a segment.
TOKEN = re.compile(
    r"(?P<star>\*)"
    r"|(?P<one>\?)"
    r"|\[(?P<not>!?)(?P<set>\]?[^\]]*)\]"
    r"|\{(?P<name>[A-Za-z][0-9A-Za-z_]*)\}"
    r"|(?P<text>[^*?\[{}]+)"
)
# Any number of whole folders, as few as will do.
_FOLDERS = r"(?:[^/]*+/)*?"


class InvalidGlob(ValueError):
    """Not a pattern; the message says why."""


def compile_glob(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    """A pattern of the schema's `match` as a regular expression for `fullmatch`.

    Placeholders are its named groups. Matching takes time linear in the key for each wildcard.
    Raises InvalidGlob.
    """
    runs: list[list[str]] = [[]]
    for segment in pattern.split("/"):
        if segment == "**":
            runs.append([])
        else:
            runs[-1].append(_segment(segment))
    first, *rest = runs
    if not rest:
        regex = "/".join(first)
    else:
        *middle, last = rest
        regex = "".join(f"{segment}/" for segment in first)
        for run in filter(None, middle):
            regex += f"(?>{_FOLDERS}{''.join(f'{segment}/' for segment in run)})"
        regex += _FOLDERS + "/".join(last) if last else ".*"
    try:
        return re.compile(regex, re.DOTALL | re.IGNORECASE if any_case else re.DOTALL)
    except re.error as error:  # such as a placeholder that comes twice
        raise InvalidGlob(error.msg) from None


def compile_wildcard(pattern: str) -> re.Pattern[str]:
    """An EventBridge wildcard as a regular expression for `fullmatch`.

    `*` fits any number of characters, `/` included; a backslash escapes a `*` or another
    backslash. Matching leaves nothing to backtrack over. Raises InvalidGlob for a pattern that
    EventBridge refuses.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
    """
    pieces = [""]
    for token in re.finditer(r"\\(.?)|(\*+)|[^*\\]+", pattern, re.DOTALL):
        escaped, stars = token[1], token[2]
        if escaped is not None and escaped not in ("*", "\\"):
            raise InvalidGlob(f"a backslash escapes * or another backslash, not {escaped!r}")
        if stars is None:
            pieces[-1] += re.escape(token[0] if escaped is None else escaped)
        elif len(stars) > 1:
            raise InvalidGlob("two * in a row")
        else:
            pieces.append("")
    first, *rest = pieces
    if not rest:
        return re.compile(first)
    *middle, last = rest
    # Each piece at the first place where it fits, for good; the last one at the end.
    return re.compile(
        first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}", re.DOTALL
    )


def beginning_of(pattern: str) -> str:
    """What all keys begin with that fit an EventBridge wildcard (see `compile_wildcard`)."""
    fixed = re.match(r"(?:\\.|[^*\\])*", pattern, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", fixed[0] if fixed else "", flags=re.DOTALL)


def _segment(pattern: str) -> str:
    """One segment: a fixed start, then wildcards, each with the fixed text that ends it."""
    if pattern == "*":
        return "[^/]+"
    start = ""
    wild: list[list[str]] = []
    at = 0
    while at < len(pattern):
        token = TOKEN.match(pattern, at)
        if token is None:
            raise InvalidGlob(f"nothing closes the {pattern[at]!r}, or it opens nothing")
        at = token.end()
        if token["star"]:
            wild.append(["[^/]*?", ""])
        elif token["name"]:
            wild.append([f"(?P<{token['name']}>[^/]+?)", ""])
        elif wild:
            wild[-1][1] += _fixed(token)
        else:
            start += _fixed(token)
    *earlier, last = ["".join(piece) for piece in wild] or [""]
    if not all(text for _, text in wild[:-1]):
        raise InvalidGlob("nothing shows where one wildcard ends and the next begins")
    return start + "".join(f"(?>{piece})" for piece in earlier) + last


def _fixed(token: re.Match[str]) -> str:
    """The regular expression of a token that fits a fixed number of characters."""
    if token["one"]:
        return "[^/]"
    if token["text"]:
        return re.escape(token["text"])
    ranges = re.findall(r"(.)-(.)|(.)", token["set"], re.DOTALL)
    pairs = [(low or single, high or single) for low, high, single in ranges]
    if not pairs or any(low > high for low, high in pairs):
        raise InvalidGlob(f"{token[0]!r} fits nothing")
    members = "".join(f"\\U{ord(low):08x}-\\U{ord(high):08x}" for low, high in pairs)
    return f"(?!/)[{'^' if token['not'] else ''}{members}]"
