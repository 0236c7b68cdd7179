"""Options that several verbs have, each described once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

OBJECT = "One object (all prompts together describe it)"
MODEL = "Model"
RESULTS = "Results"

FLAG = " "  # what help shows for the value of an option that has none

Values: TypeAlias = list[str] | None


class Precision(str, Enum):
    """Which arithmetic."""

    EXACT = "exact"
    AUTO = "auto"


PointOption: TypeAlias = Annotated[Values, typer.Option(metavar="X,Y", help="A click on it.", rich_help_panel=OBJECT)]
NotPointOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="X,Y", help="A click beside it.", rich_help_panel=OBJECT)
]
BoxOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around it.", rich_help_panel=OBJECT)
]
TextOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="PHRASE", help="What it is called.", rich_help_panel=OBJECT)
]
StrokeOption: TypeAlias = Annotated[
    Values, typer.Option(metavar='"X,Y X,Y ..."', help="A brush stroke on it.", rich_help_panel=OBJECT)
]
NotStrokeOption: TypeAlias = Annotated[
    Values, typer.Option(metavar='"X,Y X,Y ..."', help="A brush stroke beside it.", rich_help_panel=OBJECT)
]
ScribbleOption: TypeAlias = Annotated[
    Values, typer.Option(metavar='"X,Y X,Y; X,Y ..."', help="Several strokes on it.", rich_help_panel=OBJECT)
]
NotScribbleOption: TypeAlias = Annotated[
    Values, typer.Option(metavar='"X,Y X,Y; X,Y ..."', help="Several strokes beside it.", rich_help_panel=OBJECT)
]
WidthOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="PIXELS", help="Of its strokes and scribbles. Default: 8.", rich_help_panel=OBJECT)
]
PolygonOption: TypeAlias = Annotated[
    Values,
    typer.Option(
        metavar='"X,Y X,Y X,Y ..."',
        help="An outline: to nano of the object, to SEEM a curve on it.",
        rich_help_panel=OBJECT,
    ),
]
AudioOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="FILE", help="What it is called, spoken.", rich_help_panel=OBJECT)
]
ReferenceOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="PHOTO", help="It looks like something in another photo:", rich_help_panel=OBJECT)
]
ReferencePointOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="X,Y", help="... a click on it there.", rich_help_panel=OBJECT)
]
ReferenceBoxOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="X0,Y0,X1,Y1", help="... a box around it there.", rich_help_panel=OBJECT)
]
ReferenceMaskOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="FILE", help="... its mask there.", rich_help_panel=OBJECT)
]
ReferenceTextOption: TypeAlias = Annotated[
    Values, typer.Option(metavar="PHRASE", help="... what it is called there.", rich_help_panel=OBJECT)
]
ObjectOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--object",
        count=True,
        metavar=FLAG,
        show_default=False,
        help="Go on to the next object.",
        rich_help_panel=OBJECT,
    ),
]
ModelOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="See seem models.", rich_help_panel=MODEL)
]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="cpu|cuda|mps", help="Default: the fastest there is.", rich_help_panel=MODEL)
]
PrecisionOption: TypeAlias = Annotated[
    Precision,
    typer.Option(
        metavar="exact|auto", help="Float32 everywhere, or the fastest that sees the same.", rich_help_panel=MODEL
    ),
]
SizeOption: TypeAlias = Annotated[
    int | None, typer.Option(metavar="PIXELS", help="Short side that the network sees.", rich_help_panel=MODEL)
]
OutOption: TypeAlias = Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.", rich_help_panel=RESULTS)]
OverwriteOption: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", metavar=FLAG, help="Replace results.", rich_help_panel=RESULTS)
]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", metavar=FLAG, help="Say nothing but errors.", rich_help_panel=RESULTS)
]
