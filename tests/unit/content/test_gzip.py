"""Gzip is unpacked as `gzip -d` does, whatever lies between its members; damage is told."""

import gzip
import io
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aep_intake.content import gzip as module
from aep_intake.content.gzip import Gunzipped
from aep_intake.model.errors import FormatMismatch, StorageUnavailable
from hypothesis import given
from hypothesis import strategies as st

URI = "s3://landing/in/a.gz"
TEXT = b'{"a": "%s"}\n' % (b"x" * 500) * 3
WHOLE = gzip.compress(TEXT, mtime=0)
PADDING = st.sampled_from([b"", b"\n", b"\r\n", b"\0" * 512, b" \r\n\0"])


def chunks_of(unpacked: Gunzipped, size: int) -> Iterator[bytes]:
    return iter(lambda: unpacked.read(size), b"")


def unpacked(packed: bytes, size: int = 2**20) -> bytes:
    return b"".join(chunks_of(Gunzipped(io.BytesIO(packed), URI), size))


@given(
    st.lists(st.tuples(st.binary(max_size=300), PADDING), max_size=4),
    PADDING,
    st.integers(1, 400),
    st.sampled_from([1, 2, 3, 64]),
)
def test_members_follow_one_another_with_padding_or_without(
    members: list[tuple[bytes, bytes]], before: bytes, size: int, chunk: int
) -> None:
    packed = before + b"".join(gzip.compress(text) + padding for text, padding in members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        chunks = list(chunks_of(Gunzipped(io.BytesIO(packed), URI), size))
    assert b"".join(chunks) == b"".join(text for text, _ in members)
    assert all(len(one) == size for one in chunks[:-1]), "always the same"


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"not a gzip at all", "near byte 0, it does not begin like a gzip"),
        (b"\x1f\x8b", "near byte 2, it breaks off"),
        (WHOLE[:20], "near byte 20, it breaks off"),
        (WHOLE[:-1], f"near byte {len(WHOLE) - 1}, it breaks off"),
        (WHOLE[:-8] + bytes(8), "incorrect data check"),
        (WHOLE[:15] + b"\xff\xff\xff" + WHOLE[18:], "near byte 0, "),
        (WHOLE + b"and more", f"near byte {len(WHOLE)}, what follows is not gzip"),
        (WHOLE + b"\n\x1f", "what follows is not gzip"),
        (WHOLE + WHOLE[:-3], "it breaks off"),
    ],
)
def test_damage_is_told_by_its_place(packed: bytes, words: str) -> None:
    with pytest.raises(FormatMismatch, match=words) as caught:
        unpacked(packed)
    assert URI in str(caught.value)


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_no_damage_passes_for_other_content(at: int) -> None:
    spoiled = bytearray(WHOLE)
    spoiled[at * len(WHOLE) // 40] ^= 1 + random.Random(at).randrange(255)
    with suppress(FormatMismatch):
        assert unpacked(bytes(spoiled)) == TEXT, "a header's time, or its system, may be any"


def test_storage_may_break_off() -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            some = super().read(size)
            if not some:
                raise StorageUnavailable("its bytes broke off")
            return some

    with pytest.raises(StorageUnavailable):
        list(chunks_of(Gunzipped(Breaking(WHOLE[:-20]), URI), 9))
