/**
 * Types that several modules share; nothing runs here.
 *
 * Coordinates are (x, y) in pixels of the photo as shown. A point names a pixel (its centre); boxes and polygons run
 * along the edges of pixels.
 *
 * @typedef {[number, number]} Position
 *
 * @typedef {object} Rle  COCO's compressed run-length code
 * @property {[number, number]} size  height and width
 * @property {string} counts
 *
 * @typedef {object} Bitmap  the part of a mask inside its box
 * @property {number} x  left column
 * @property {number} y  top row
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array} data  1 inside, row by row
 *
 * @typedef {{kind: "point", x: number, y: number, positive?: boolean}} PointPrompt
 * @typedef {{kind: "stroke", points: Position[], width: number, positive?: boolean}} StrokePrompt
 * @typedef {{kind: "scribble", strokes: Position[][], width: number, positive?: boolean}} ScribblePrompt
 * @typedef {{kind: "polygon", points: Position[]}} PolygonPrompt
 * @typedef {{kind: "box", x0: number, y0: number, x1: number, y1: number}} BoxPrompt
 * @typedef {{kind: "mask", rle: Rle}} MaskPrompt
 * @typedef {{kind: "text", phrase: string}} TextPrompt
 * @typedef {{kind: "reference", image: string, prompts: Prompt[]}} ReferencePrompt  `image`: a key of `EncodedImages`
 * @typedef {PointPrompt | StrokePrompt | ScribblePrompt | PolygonPrompt | BoxPrompt | MaskPrompt | TextPrompt
 *   | ReferencePrompt} Prompt
 *
 * @typedef {object} PhotoObject
 * @property {number} id  positive, never used twice in a document
 * @property {string | null} label
 * @property {number} score  0-1
 * @property {number} color  index into the palette
 * @property {boolean} visible
 * @property {Prompt[]} prompts  what it was made from; empty for those of a question about the whole photo
 * @property {StrokePrompt[]} erased  strokes of the eraser, taken out of every answer
 * @property {Rle} mask
 * @property {boolean} [proposed]  nobody has accepted it yet
 * @property {string} source  which question it came from; "edited" or "accepted" once a person changed or accepted it
 *
 * @typedef {object} PhotoDocument  what undo and redo go through
 * @property {PhotoObject[]} objects
 * @property {number} nextId
 *
 * @typedef {"new" | "add" | "remove"} Intent  what a mark does: begin an object, or extend or cut the selected one
 * @typedef {"click" | "stroke" | "scribble" | "polygon" | "box" | "eraser" | "pan"} ToolName
 *
 * @typedef {object} Answer  a result of the engine
 * @property {string} kind
 * @property {{box: number[], area: number, score: number, label: string | null, mask: Rle}[]} objects
 * @property {string[]} notes
 *
 * @typedef {Pick<import("./engine/server_engine.js").ServerEngine,
 *   keyof import("./engine/server_engine.js").ServerEngine>} Engine  what answers questions about pictures
 *
 * @typedef {object} ImageDescription  an encoded image
 * @property {string} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 */

export {};
