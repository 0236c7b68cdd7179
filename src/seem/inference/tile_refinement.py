"""The edges of an object that is larger than a tile: found again, at full resolution, in the tiles that they cross.

A reduced view tells where the object is to within a few of its cells. Around that edge the tiles answer, each with the
view's answer as its previous mask, and the answers of overlapping tiles pass into each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prediction import Prediction
from seem.inference.prompt_decoder import PromptDecoder
from seem.inference.tiles import Tile, TileGrid, View, prompt_in_view
from seem.inference.zoom import ZOOMED_WEIGHT, prompts_in_window, to_previous_mask
from seem.mask_codec import PackedMask
from seem.prompts import Mask, Prompt, VisualPrompt
from seem.rasterize import PixelBox
from seem.tasks.postprocess import to_image_size

EDGE_CELLS = (
    2.0  # of mask logits, on either side of an edge of a view's answer: so far it may be off
)
CELL = 4  # network pixels


@dataclass(frozen=True, slots=True, eq=False)
class ViewAnswer:
    """The answer about one object in a view."""

    view: View
    decoder: PromptDecoder
    prediction: Prediction


def prompts_in_view(prompts: ObjectPrompts, view: View) -> ObjectPrompts:
    """Move the prompts about an object into a view, without negative ones that lie outside."""
    moved: list[Prompt] = []
    for prompt in prompts.prompts:
        if not isinstance(prompt, VisualPrompt):
            moved.append(prompt)
            continue
        mark = prompt_in_view(prompt, view)
        if mark is not None and (prompt.positive or _is_inside(mark, view.hw)):
            moved.append(mark)
    return ObjectPrompts.of(moved)


def _is_inside(mark: VisualPrompt, hw: tuple[int, int]) -> bool:
    try:
        mark.check_inside(hw)
    except ValueError:
        return False
    return True


def refine_edges(
    prompts: ObjectPrompts,
    answer: ViewAnswer,
    grid: TileGrid,
    decoder_of: Callable[[Tile], PromptDecoder],
) -> PackedMask:
    """Return the mask of the full image; `decoder_of` encodes a tile."""
    coarse = CoarseMask.of(answer)
    box = coarse.box
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.bool_)
    if not mask.size:
        return PackedMask.pack(np.zeros(grid.image_hw, dtype=np.bool_), grid.image_hw)
    for rows, logits in blended_rows(prompts, coarse, grid, decoder_of):
        mask[rows.start - box[1] : rows.stop - box[1]] = (logits > 0).numpy()
    return _shifted(PackedMask.pack(mask, mask.shape), box, grid.image_hw)


def _shifted(mask: PackedMask, box: PixelBox, image_hw: tuple[int, int]) -> PackedMask:
    """Place the mask of a box in the full image."""
    if not mask.area:
        return PackedMask(image_hw, mask.box, mask.bits, 0)
    x0, y0, x1, y1 = mask.box
    placed = (x0 + box[0], y0 + box[1], x1 + box[0], y1 + box[1])
    return PackedMask(image_hw, placed, mask.bits, mask.area)


@dataclass(frozen=True, slots=True, eq=False)
class CoarseMask:
    """An answer in a view: logits at its pixels, and where its edge may be."""

    view: View
    logits: Float[Tensor, "h w"]
    is_inside: Bool[Tensor, "h w"]
    is_edge: Bool[Tensor, "h w"]

    @classmethod
    def of(cls, answer: ViewAnswer) -> CoarseMask:
        """Bring the logits of an answer to the view."""
        frame = answer.decoder.frame
        assert answer.prediction.logits is not None
        logits = to_image_size(answer.prediction.logits.float().cpu(), frame)[0]
        mask = torch.from_numpy(answer.prediction.masks[0].decode())
        logits = torch.where(mask == (logits > 0), logits, torch.where(mask, 1.0, -1.0))
        reach = round(EDGE_CELLS * CELL * frame.output_hw[0] / frame.input_hw[0])
        grown, shrunk = _grown(mask, reach), ~_grown(~mask, reach)
        return cls(answer.view, logits, mask & shrunk, grown & ~shrunk)

    @property
    def box(self) -> PixelBox:
        """The box of the full image outside of which the object is not."""
        marked = (self.is_inside | self.is_edge).numpy()
        if not marked.any():
            return 0, 0, 0, 0
        rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
        window, factor = self.view.window, self.view.factor
        return (
            window.x0 + int(columns[0]) * factor,
            window.y0 + int(rows[0]) * factor,
            min(window.x0 + (int(columns[-1]) + 1) * factor, window.x1),
            min(window.y0 + (int(rows[-1]) + 1) * factor, window.y1),
        )

    def logits_in(self, box: PixelBox) -> Float[Tensor, "h w"]:
        """Enlarge the logits of a box of the full image, bilinearly; what the view does not show is outside."""
        x, y = self._positions(box)
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
        enlarged = F.grid_sample(
            self.logits[None, None], grid, padding_mode="border", align_corners=False
        )[0, 0]
        return torch.where(self._is_shown(box), enlarged, enlarged.new_tensor(-1.0))

    def _positions(self, box: PixelBox) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"]]:
        """Return where the pixels of a box lie in the view, from -1 to 1 between its borders."""
        height, width = self.logits.shape
        window, factor = self.view.window, self.view.factor
        x = (torch.arange(box[0], box[2]) + 0.5 - window.x0) / factor
        y = (torch.arange(box[1], box[3]) + 0.5 - window.y0) / factor
        return 2 * x / width - 1, 2 * y / height - 1

    def _is_shown(self, box: PixelBox) -> Bool[Tensor, "h w"]:
        window = self.view.window
        x, y = torch.arange(box[0], box[2]), torch.arange(box[1], box[3])
        in_x, in_y = (x >= window.x0) & (x < window.x1), (y >= window.y0) & (y < window.y1)
        return in_y[:, None] & in_x[None]

    def enlarged(self, which: Bool[Tensor, "h w"], box: PixelBox) -> Bool[Tensor, "hb wb"]:
        """Enlarge a mask of the view to a box of the full image."""
        height, width = self.logits.shape
        window, factor = self.view.window, self.view.factor
        columns = (torch.arange(box[0], box[2]) - window.x0).div(factor, rounding_mode="floor")
        rows = (torch.arange(box[1], box[3]) - window.y0).div(factor, rounding_mode="floor")
        nearest = which[rows.clamp(0, height - 1)][:, columns.clamp(0, width - 1)]
        return nearest & self._is_shown(box)


def _grown(mask: Bool[Tensor, "h w"], reach: int) -> Bool[Tensor, "h w"]:
    """Add to a mask all that is within a square of `reach` pixels to each side."""
    side = 2 * reach + 1
    return F.max_pool2d(mask[None, None].float(), side, stride=1, padding=reach)[0, 0] > 0


def blended_rows(
    prompts: ObjectPrompts,
    coarse: CoarseMask,
    grid: TileGrid,
    decoder_of: Callable[[Tile], PromptDecoder],
) -> Iterator[tuple[slice, Float[Tensor, "rows width"]]]:
    """Yield the rows of the object's box from top to bottom, with logits; a row of tiles is in memory at a time."""
    x0, y0, x1, y1 = coarse.box
    tile_rows = list(grid.rows_of(coarse.box))
    carried = torch.zeros(
        2, 0, x1 - x0
    )  # sums of weighted logits and of weights, of rows that go on below
    top = y0
    for number, tiles in enumerate(tile_rows):
        bottom = min(tiles[0].window.y1, y1)
        is_last = number + 1 == len(tile_rows)
        done = bottom if is_last else max(tile_rows[number + 1][0].window.y0, top)
        sums = torch.zeros(2, bottom - top, x1 - x0)
        sums[:, : carried.shape[1]] = carried
        for tile in tiles:
            _add_tile(sums, (x0, top, x1, bottom), prompts, coarse, tile, decoder_of)
        finished, carried = sums[:, : done - top], sums[:, done - top :]
        for start in range(top, done, grid.side // 4):  # the view's logits are enlarged in parts
            stop = min(start + grid.side // 4, done)
            part = finished[:, start - top : stop - top]
            base = coarse.logits_in((x0, start, x1, stop))
            is_edge = coarse.enlarged(coarse.is_edge, (x0, start, x1, stop)) & (part[1] > 0)
            yield slice(start, stop), torch.where(is_edge, part[0] / part[1], base)
        top = done


def _add_tile(
    sums: Float[Tensor, "2 h w"],
    box: PixelBox,
    prompts: ObjectPrompts,
    coarse: CoarseMask,
    tile: Tile,
    decoder_of: Callable[[Tile], PromptDecoder],
) -> None:
    """Add the answer of a tile to the sums of a box, if the object's edge crosses the tile."""
    window = tile.window
    if not coarse.enlarged(coarse.is_edge, window.box).any():
        return
    marks = marks_in_tile(prompts, coarse, tile)
    if not marks:
        return
    decoder = decoder_of(tile)
    first = coarse.logits_in(window.box)
    previous = to_previous_mask(first, decoder.frame.input_hw, decoder.frame.padded_hw)
    second = decoder.answer([ObjectPrompts.of(marks)], previous=previous[None, None])[0][0]
    logits = torch.lerp(
        first, to_image_size(second.logits[None].float(), decoder.frame)[0].cpu(), ZOOMED_WEIGHT
    )
    weights = tile_weights(tile)
    shown = (
        slice(max(window.y0, box[1]), min(window.y1, box[3])),
        slice(max(window.x0, box[0]), min(window.x1, box[2])),
    )
    inside_tile = _relative(shown, window.y0, window.x0)
    inside_box = _relative(shown, box[1], box[0])
    sums[0][inside_box] += (weights * logits)[inside_tile]
    sums[1][inside_box] += weights[inside_tile]


def _relative(where: tuple[slice, slice], top: int, left: int) -> tuple[slice, slice]:
    rows, columns = where
    return slice(rows.start - top, rows.stop - top), slice(
        columns.start - left, columns.stop - left
    )


def marks_in_tile(prompts: ObjectPrompts, coarse: CoarseMask, tile: Tile) -> Sequence[VisualPrompt]:
    """Return the marks that lie in a tile; where none says what is meant, also what is surely inside the object."""
    marks = prompts_in_window(tile.window, prompts.visual)
    if any(mark.positive for mark in marks):
        return marks
    inside = coarse.enlarged(coarse.is_inside, tile.window.box)
    if not inside.any():
        inside = coarse.logits_in(tile.window.box) > 0
    if not inside.any():
        return ()
    return (*marks, Mask(inside.numpy()))


def tile_weights(tile: Tile) -> Float[Tensor, "h w"]:
    """Weight the pixels of a tile: 1, falling towards borders within the image, where the neighbour's weight rises."""
    height, width = tile.window.hw
    bands = tile.bands
    return _ramp(height, bands.top, bands.bottom)[:, None] * _ramp(width, bands.left, bands.right)


def _ramp(length: int, before: int, behind: int) -> Float[Tensor, " n"]:
    position = torch.arange(length) + 0.5
    ramp = torch.ones(length)
    if before:
        ramp = torch.minimum(ramp, position / before)
    if behind:
        ramp = torch.minimum(ramp, (length - position) / behind)
    return ramp
