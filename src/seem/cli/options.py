"""Options that several verbs share, each declared once, and the decorator that adds groups of them to a verb."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import Enum
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

from seem.regular_file import check_replaceable

if TYPE_CHECKING:
    from seem.model import Model

OBJECT_PANEL = "One object (all prompts together describe it)"
MODEL_PANEL = "Model"
RESULTS_PANEL = "Results"

FLAG = " "  # what help shows as the value of an option that takes none

Values: TypeAlias = list[str] | None


class Precision(str, Enum):
    """Arithmetic of the network."""

    EXACT = "exact"
    AUTO = "auto"


PATH_OPTIONS = (
    "--out", "--data", "--model", "--mask", "--audio", "--boxes", "--reference", "--reference-mask", "--ids-from",
    "--finer-masks", "--subset", "--plots", "--into", "--runtime", "--label-studio-files",
)  # fmt: skip
"""Options whose value names a file or a folder."""


class EngineName(str, Enum):
    """What computes the image network."""

    TORCH = "torch"
    OPENVINO = "openvino"


# --- Groups of options ------------------------------------------------------------------------------------------------


class OptionGroup:
    """Base of frozen dataclasses whose fields are options, each annotated as typer expects."""

    def given(self) -> list[str]:
        """Return the options that have another value than their default, as they are typed, in order of declaration."""
        given = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value != field.default:
                given += typed_option(field.name, value)
        return given


def flag_of(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name.replace('_', '-')}"


def typed_option(name: str, value: object) -> list[str]:
    """Return an option with its value as it is typed, once for each value."""
    if isinstance(value, list):
        return [f"{flag_of(name)} {each}" for each in value]
    if isinstance(value, Enum):
        value = value.value
    if value is True or value == "":
        return [flag_of(name)]
    return [f"{flag_of(name)} {value}"]


def takes_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a verb for typer in which a parameter typed as an `OptionGroup` is replaced by the options of that group.

    The options appear in help where the parameter stands; the verb receives them as one object.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, OptionGroup):
            groups[name] = hint
            parameters.extend(option_parameters(hint))
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hint))

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        for name, group in groups.items():
            options = {field: values.pop(field) for field in field_names(group)}
            values[name] = group(**options)
        command(**values)

    wrapper.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def option_parameters(group: type[OptionGroup]) -> Iterator[Parameter]:
    """Yield the options of a group as parameters of a function."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):  # type: ignore[arg-type]
        yield Parameter(
            field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )


def field_names(group: type[OptionGroup]) -> list[str]:
    """Return the names of a group's options, as in Python."""
    return [field.name for field in fields(group)]  # type: ignore[arg-type]


def check_file_to_write(out: Path, overwrite: bool) -> None:
    """Raise `OSError` before any work if a result could not be written to the file OUT."""
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder; name the file to write as OUT.")
    check_replaceable(out)
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; pass --overwrite or another OUT.")
    if not out.absolute().parent.is_dir():
        raise NotADirectoryError(
            f"There is no folder {out.absolute().parent} for {out.name}; make it first."
        )


# --- Prompts ----------------------------------------------------------------------------------------------------------


def prompt_option(metavar: str, help_text: str) -> Any:
    """Describe an option about one object, which may be given several times."""
    return typer.Option(metavar=metavar, help=help_text, rich_help_panel=OBJECT_PANEL)


POINT, BOX, POINTS, STROKES = "X,Y", "X0,Y0,X1,Y1", '"X,Y X,Y ..."', '"X,Y X,Y; X,Y ..."'


@dataclass(frozen=True, slots=True)
class PromptOptions(OptionGroup):
    """Prompts as they were written; `seem.cli.prompts` reads them in the order of the command line."""

    point: Annotated[Values, prompt_option(POINT, "Positive click: a pixel on the object.")] = None
    not_point: Annotated[
        Values, prompt_option(POINT, "Negative click: a pixel outside the object.")
    ] = None
    box: Annotated[Values, prompt_option(BOX, "Box around the object.")] = None
    text: Annotated[
        Values, prompt_option("PHRASE", "Phrase that names or describes the object.")
    ] = None
    stroke: Annotated[Values, prompt_option(POINTS, "Brush stroke on the object.")] = None
    not_stroke: Annotated[Values, prompt_option(POINTS, "Brush stroke outside the object.")] = None
    scribble: Annotated[Values, prompt_option(STROKES, "Several brush strokes on the object.")] = (
        None
    )
    not_scribble: Annotated[
        Values, prompt_option(STROKES, "Several brush strokes outside the object.")
    ] = None
    width: Annotated[
        Values,
        prompt_option("PIXELS", "Brush width of the object's strokes and scribbles. Default: 8."),
    ] = None
    polygon: Annotated[
        Values,
        prompt_option(
            '"X,Y X,Y X,Y ..."', "Polygon: outline of the object (nano), a curve on it (SEEM)."
        ),
    ] = None
    mask: Annotated[
        Values, prompt_option("FILE", "Mask image of the photo's size; black is outside.")
    ] = None
    audio: Annotated[
        Values, prompt_option("FILE", "Sound file: a spoken phrase that names the object.")
    ] = None
    reference: Annotated[
        Values,
        prompt_option("PHOTO", "Another photo with such an object; mark it there by one of:"),
    ] = None
    reference_point: Annotated[
        Values, prompt_option(POINT, "Click on the object in the reference photo.")
    ] = None
    reference_box: Annotated[
        Values, prompt_option(BOX, "Box around the object in the reference photo.")
    ] = None
    reference_mask: Annotated[
        Values, prompt_option("FILE", "Mask of the object in the reference photo.")
    ] = None
    reference_text: Annotated[
        Values, prompt_option("PHRASE", "Phrase that names the object in the reference photo.")
    ] = None
    object_: Annotated[
        int,
        typer.Option(
            "--object",
            count=True,
            metavar=FLAG,
            show_default=False,
            help="Separator: the prompts after it describe the next object.",
            rich_help_panel=OBJECT_PANEL,
        ),
    ] = 0

    def values(self) -> dict[str, list[str]]:
        """Return the values of every option in the order given; each `--object` counts as an empty value."""
        values: dict[str, list[str]] = {}
        for name in field_names(PromptOptions):
            if name != "object_":
                values[name] = getattr(self, name) or []
        values["object"] = [""] * self.object_
        return values


# --- Model and results ------------------------------------------------------------------------------------------------

DeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda|mps",
        help="Device of the network. Default: the fastest one.",
        rich_help_panel=MODEL_PANEL,
    ),
]
PRECISION_HELP = "Arithmetic: float32 everywhere, or the fastest with equivalent results."
PrecisionOption: TypeAlias = Annotated[
    Precision, typer.Option(metavar="exact|auto", help=PRECISION_HELP, rich_help_panel=MODEL_PANEL)
]
EngineOption: TypeAlias = Annotated[
    EngineName,
    typer.Option(
        metavar="torch|openvino",
        help="Engine of the image network; openvino is faster on CPUs (extra: openvino).",
        rich_help_panel=MODEL_PANEL,
    ),
]
SizeOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Short side of the resized photo that the network sees.",
        rich_help_panel=MODEL_PANEL,
    ),
]
OverwriteOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        metavar=FLAG,
        help="Replace existing result files.",
        rich_help_panel=RESULTS_PANEL,
    ),
]
PhotosArgument: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO", help="Image files, folders, patterns in quotes, or - for standard input."
    ),
]


@dataclass(frozen=True, slots=True)
class ModelOptions(OptionGroup):
    """Which network answers, and how it computes."""

    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Name of the model (see seem models), or a file of weights.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "nano"
    device: DeviceOption = None
    precision: PrecisionOption = Precision.AUTO
    engine: EngineOption = EngineName.TORCH
    size: SizeOption = None

    def load(self) -> Model:
        """Load the model in PyTorch."""
        from seem.loading import load

        return load(self.model, self.device, self.precision.value, self.engine.value)

    def check_size(self) -> None:
        """Raise `ValueError` for a size that the model cannot take, if that is known before its weights are read."""
        check_size_of(self.model, self.size)


def check_size_of(model: str, size: int | None) -> None:
    """Raise `ValueError` for a size that a model cannot take, by its name or by what the file of weights says it is."""
    if size is None:
        return
    from seem.loading import find_config  # here, because they import PyTorch
    from seem.preprocess import check_short_side

    known = find_config(model)
    if known is not None:
        check_short_side(size, known.config.image)


ResumeOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar=FLAG,
        help="Go on with an interrupted call: photos that have results are left out.",
        rich_help_panel=RESULTS_PANEL,
    ),
]
WorkersOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that read and encode photos on a CPU. Default: this one alone.",
        rich_help_panel=MODEL_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class OutputOptions(OptionGroup):
    """Where result files go, and how much is printed."""

    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder for the result files.", rich_help_panel=RESULTS_PANEL
        ),
    ] = Path("seem-out")
    overwrite: OverwriteOption = False
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", metavar=FLAG, help="Print nothing but errors.", rich_help_panel=RESULTS_PANEL
        ),
    ] = False
