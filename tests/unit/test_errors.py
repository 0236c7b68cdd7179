import pytest

from seem.errors import short_reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ValueError("The header is damaged. Nothing else is known.\nBacktrace: ..."),
            "The header is damaged",
        ),
        (
            OSError("image file is truncated (51 bytes not processed)"),
            "image file is truncated (51 bytes not processed)",
        ),
        (KeyError(105), "KeyError 105"),
        (EOFError(), "EOFError"),
        (RuntimeError("\n\n"), "RuntimeError"),
        (RuntimeError("x" * 1000), "x" * 200),
    ],
)
def test_what_a_library_said_in_many_words_is_said_in_few(error, words):
    assert short_reason(error) == words
