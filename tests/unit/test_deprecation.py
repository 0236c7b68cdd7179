import pytest

from seem.deprecation import Renamed, renamed_arguments


@renamed_arguments(
    thresh=Renamed("threshold"),
    second_look=Renamed("refine", lambda on: "zoom" if on else None),
)
def answer(threshold: float = 0.5, refine: str | None = None) -> tuple[float, str | None]:
    return threshold, refine


def test_the_new_name_does_not_warn() -> None:
    assert answer(threshold=0.1, refine="zoom") == (0.1, "zoom")


def test_the_old_name_works_and_warns_with_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match=r"answer\(thresh=\.\.\.\) is now threshold="):
        assert answer(thresh=0.2) == (0.2, None)  # type: ignore[call-arg]


def test_the_old_value_becomes_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match="second_look"):
        assert answer(second_look=True) == (0.5, "zoom")  # type: ignore[call-arg]


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(TypeError, match="not both"):
        answer(threshold=0.1, thresh=0.2)  # type: ignore[call-arg]
