"""Options about photos that are too large to be segmented at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seem.cli.dataset_options import DatasetOptions
from seem.cli.options import OptionGroup
from seem.cli.prompts import read_option

if TYPE_CHECKING:
    from seem.cli.segment_request import SegmentRequest
else:  # which imports this module
    SegmentRequest = Any

TILE_PANEL = "Large photos"


@dataclass(frozen=True, slots=True)
class TileOptions(OptionGroup):
    """How large photos are cut, and which bands of a file are seen."""

    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the tiles in which photos of any size are read and segmented.",
            rich_help_panel=TILE_PANEL,
        ),
    ] = None
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Pixels that neighbouring tiles share. Default: an eighth of --tile.",
            rich_help_panel=TILE_PANEL,
        ),
    ] = None
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,N",
            help="Bands of a file, from 1 on, that are red, green and blue (extra: geo).",
            rich_help_panel=TILE_PANEL,
        ),
    ] = None

    @property
    def band_numbers(self) -> Sequence[int] | None:
        """The bands as numbers; `ValueError` for what are none."""
        return None if self.bands is None else read_option("bands", self.bands, parse_bands)

    def check(
        self, request: SegmentRequest, datasets: DatasetOptions, others: Sequence[str]
    ) -> None:
        """Raise `ValueError` for options that do not go together; `others` are further ones that tiles exclude."""
        if self.tile is None:
            for name in self.given():
                raise ValueError(
                    f"{name} is for photos in tiles; add --tile 1024, or leave it out."
                )
            return
        excluded = [*request.options_beyond_tiles(), *others]
        if datasets.format:
            excluded.append(f"--format {datasets.format[0]}")
        if excluded:
            raise ValueError(
                f"{excluded[0]} is not there for photos in tiles; leave it or --tile {self.tile} out."
            )
        from seem.large_images import Tiling

        Tiling.of(self.tile, self.overlap, None)
        self.band_numbers  # noqa: B018  (checked here)


NO_TILES = TileOptions()


def parse_bands(text: str) -> tuple[int, ...]:
    """Parse "4,3,2", or one number."""
    from seem.large_images import checked_bands

    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError("write numbers of bands, such as 4,3,2") from None
    return checked_bands(numbers)
