"""What binary data, markup, mails and the like begin with: no text of rows does."""

import codecs
import re
import string

PARQUET = b"PAR1"
# No text begins like these. What each is called, and what to do about it.
_UNPACK = "unpack it, or pack it with gzip"
_BINARY = {
    b"PK\x03\x04": ("a zip archive", "unpack it, or pack its files one by one with gzip"),
    b"PK\x05\x06": ("an empty zip archive", ""),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel workbook (.xls)", "export it as CSV"),
    b"BZh": ("bzip2", _UNPACK),  # and the first block's mark, see `_binary`
    b"\x28\xb5\x2f\xfd": ("zstd", _UNPACK),
    b"\xfd7zXZ\0": ("xz", _UNPACK),
    b"\x04\x22\x4d\x18": ("lz4", _UNPACK),
    b"\xff\x06\0\0sNaPpY": ("snappy", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", _UNPACK),
    b"\x1f\x9d": ("a .Z file of compress", _UNPACK),
    b"LZIP": ("lzip", _UNPACK),
    b"%PDF-": ("PDF", ""),
    b"{\\rtf": ("RTF", ""),
    b"MIME-Version:": ("a web page of Excel (MHTML)", "export it as CSV"),
    b"ARROW1\0": ("Arrow (Feather)", ""),
    b"SQLite format 3\0": ("a SQLite database", ""),
    b"SEQ\x06": ("a SequenceFile", ""),
    b"\x89PNG": ("an image", ""),
    b"\xff\xd8\xff": ("an image", ""),
    b"Obj\x01": ("Avro", ""),
    codecs.BOM_UTF32_LE: ("text in UTF-32", "write UTF-8"),  # before UTF-16, which begins alike
    codecs.BOM_UTF32_BE: ("text in UTF-32", "write UTF-8"),
}
# Only binary data begins like these, or a CSV whose first column is PARENT_ID or ORCID.
# PARE: https://github.com/apache/parquet-format/blob/master/Encryption.md
_BINARY_IF_NUL = {
    PARQUET: ("Parquet", ""),
    b"PARE": ("encrypted Parquet, for which AEP has no key", ""),
    b"ORC": ("ORC", ""),
}
_TAR, _TAR_AT = b"ustar", 257
_BLOCK = b"1AY&SY"  # the mark of a bzip2 block, at byte 4
# Text that wraps rows, or is about them, by the expression that fits its beginning.
_TEXTS = {
    # Or a tag alone, as in the `<Error><Code>AccessDenied` of S3; a CSV may begin with `<none>,`.
    rb"<(?:\?xml\b|!--|!doctype\s+html\b|html\b|[a-z][^<>,;\t|]*+>\s*+<)": (
        "XML or HTML, perhaps an error page",
        "",
    ),
    rb"(?:Return-Path|Received|Delivered-To|DKIM-Signature|Message-ID|From|To|Subject|Date): "
    rb"[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*+[a-z][a-z-]*: ": ("an e-mail", "send its attachment"),
    rb"--[^\r\n]{1,70}\r?\nContent-Disposition: ": (
        "a form of HTTP (multipart/form-data)",
        "send the file that is in it",
    ),
    rb"HTTP/\d(?:\.\d)? \d{3}\b": ("an answer of HTTP with its headers", "send its body"),
    rb"[0-9a-f]+;chunk-signature=[0-9a-f]{64}\r\n": (
        "the chunks of an upload (aws-chunked), which its storage did not put together",
        "upload it again, not in chunks",
    ),
    rb"version https://git-lfs\.github\.com/spec/": (
        "a pointer of Git LFS",
        "send the file that `git lfs pull` gets",
    ),
    rb"-----BEGIN [A-Z0-9 ]+-----": ("a text that is encrypted or signed", "send what is in it"),
}
_TEXT = rb"(?:\xef\xbb\xbf)?\s*(?:%b)" % b"|".join(b"(%b)" % text for text in _TEXTS)


def binary(content: bytes) -> tuple[str, str] | None:
    """What binary data is, and what to do about it; None if it may be text."""
    for mark, (name, remedy) in _BINARY.items():
        if content.startswith(mark) and (mark != b"BZh" or content[4:10] == _BLOCK):
            excel = mark == b"PK\x03\x04" and (b"[Content_Types].xml" in content[:4096])
            return ("an Excel workbook (.xlsx)", "export it as CSV") if excel else (name, remedy)
    if content.startswith(_TAR, _TAR_AT):
        return "a tar archive", "unpack it, and pack its files one by one with gzip"
    if _is_utf_32(content):
        return "text in UTF-32", "write UTF-8"
    if _is_ebcdic(content[:4096]):
        return "text in EBCDIC, as mainframes have it", "transfer it as text, or write UTF-8"
    if b"\0" in content:
        for mark, named in _BINARY_IF_NUL.items():
            if content.startswith(mark):
                return named
    return None


def _is_utf_32(content: bytes) -> bool:
    """Whether all of its first characters have the NULs of UTF-32, without a byte order mark."""
    first = content[: min(64, len(content) // 4 * 4)]
    big, little = first[::4] + first[1::4], first[2::4] + first[3::4]
    return len(first) >= 8 and not (any(big) and any(little)) and any(first)


def _is_ebcdic(content: bytes) -> bool:
    """Whether most of it is letters, digits and spaces of EBCDIC, of which few are ASCII."""
    high = content.translate(None, bytes(range(0x40)) + bytes(range(0x41, 0x80)))
    known = (string.ascii_letters + string.digits + " ").encode("cp500")
    letters = len(high) - len(high.translate(None, known))
    most = len(high) > 8 and 2 * len(high) > len(content) and 20 * letters > 19 * len(high)
    return most and not _is_utf_8(content)  # as few letters of Japanese may be


def _is_utf_8(content: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return False
    return True


def other_text(content: bytes) -> tuple[str, str] | None:
    """As `binary`, of text that is no rows, such as XML, a mail, or an answer of HTTP."""
    found = re.match(_TEXT, content, re.IGNORECASE)
    return [*_TEXTS.values()][(found.lastindex or 1) - 1] if found else None
