/** Vectors of the text space, as rows of one array, and what the cells of a photo show of them. */

const BEST_CELLS = 0.05; // share of the cells that say whether something is there

/** @typedef {{dim: number, data: Float32Array}} Rows */

/** @param {Rows} rows */
export function countOf({ dim, data }) {
  return data.length / dim;
}

/**
 * @param {Rows} rows
 * @param {number} index
 */
export function rowOf({ dim, data }, index) {
  return data.subarray(index * dim, (index + 1) * dim);
}

/**
 * Return some of the rows.
 * @param {Rows} rows
 * @param {number[]} indices
 * @returns {Rows}
 */
export function take(rows, indices) {
  const data = new Float32Array(indices.length * rows.dim);
  indices.forEach((index, i) => data.set(rowOf(rows, index), i * rows.dim));
  return { dim: rows.dim, data };
}

/**
 * @param {Rows[]} parts
 * @returns {Rows}
 */
export function concatenate(parts) {
  const { dim } = parts[0];
  const data = new Float32Array(parts.reduce((length, part) => length + part.data.length, 0));
  let position = 0;
  for (const part of parts) {
    data.set(part.data, position);
    position += part.data.length;
  }
  return { dim, data };
}

/**
 * Scale rows to length 1.
 * @param {Rows} rows
 * @returns {Rows}
 */
export function unit(rows) {
  const data = rows.data.slice();
  for (let i = 0; i < countOf(rows); i += 1) {
    const row = data.subarray(i * rows.dim, (i + 1) * rows.dim);
    const length = Math.hypot(...row) + 1e-7;
    row.forEach((value, k) => (row[k] = value / length));
  }
  return { dim: rows.dim, data };
}

/**
 * Return the products of all rows of `a` with all rows of `b`, one row for each of `a`.
 * @param {Rows} a
 * @param {Rows} b
 * @returns {Rows}
 */
export function products(a, b) {
  const { dim } = a;
  const columns = countOf(b);
  const data = new Float32Array(countOf(a) * columns);
  for (let i = 0, target = 0; i < a.data.length; i += dim) {
    for (let j = 0; j < b.data.length; j += dim, target += 1) {
      let sum = 0;
      for (let k = 0; k < dim; k += 1) sum += a.data[i + k] * b.data[j + k];
      data[target] = sum;
    }
  }
  return { dim: columns, data };
}

/** @param {Float32Array} values */
function largestOf(values) {
  return values.reduce((most, value) => Math.max(most, value), -Infinity);
}

/**
 * Turn every row of logits into probabilities.
 * @param {Rows} logits
 * @returns {Rows}
 */
export function softmax(logits) {
  const data = logits.data.slice();
  for (let start = 0; start < data.length; start += logits.dim) {
    const row = data.subarray(start, start + logits.dim);
    const largest = largestOf(row);
    let sum = 0;
    row.forEach((value, k) => {
      row[k] = Math.exp(value - largest);
      sum += row[k];
    });
    row.forEach((value, k) => (row[k] = value / sum));
  }
  return { dim: logits.dim, data };
}

/**
 * Return for each cell (row) the probability that it shows each thing rather than one of its rivals.
 * @param {{cells: Rows, things: Rows, rivals: Rows, rivalLogits: Rows}} vectors  logits: of all cells
 * @param {{temperature: number, closest: number}} rule  names whose cosine is `closest` or more do not compete
 * @returns {Rows}
 */
export function probabilities({ cells, things, rivals, rivalLogits }, { temperature, closest }) {
  const cosines = products(things, rivals);
  const thingLogits = products(cells, things);
  const count = countOf(things);
  const competitors = Array.from({ length: count }, (_, thing) => {
    const row = rowOf(cosines, thing);
    return Uint16Array.from(Array.from(row.keys()).filter((rival) => row[rival] < closest));
  });
  const data = new Float32Array(countOf(cells) * count);
  for (let cell = 0; cell < countOf(cells); cell += 1) {
    const own = rowOf(thingLogits, cell);
    const others = rowOf(rivalLogits, cell);
    const largest = Math.max(largestOf(own), largestOf(others));
    const exponentials = Float64Array.from(others, (value) => Math.exp(temperature * (value - largest)));
    for (let thing = 0; thing < count; thing += 1) {
      const mine = Math.exp(temperature * (own[thing] - largest));
      const names = competitors[thing];
      let sum = mine;
      for (let i = 0; i < names.length; i += 1) sum += exponentials[names[i]];
      data[cell * count + thing] = mine / sum;
    }
  }
  return { dim: count, data };
}

/**
 * Return the values of one column, the smallest first.
 * @param {Rows} rows
 * @param {number} index
 */
export function sortedColumn(rows, index) {
  return new Float32Array(countOf(rows)).map((_, i) => rows.data[i * rows.dim + index]).sort();
}

/**
 * Return the mean of the best cells of every column.
 * @param {Rows} rows
 * @returns {number[]}
 */
export function bestMeans(rows) {
  const count = Math.max(1, Math.round(BEST_CELLS * countOf(rows)));
  return Array.from({ length: rows.dim }, (_, index) => mean(sortedColumn(rows, index).slice(-count)));
}

/** @param {Float32Array} values */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Return the mean of rows, weighted; zeros where all weights are 0.
 * @param {Rows} rows
 * @param {Float32Array} weights
 * @returns {Rows}
 */
export function weightedMean(rows, weights) {
  const total = Math.max(weights.reduce((sum, weight) => sum + weight, 0), 1e-6);
  const data = new Float32Array(rows.dim);
  weights.forEach((weight, i) => {
    if (weight === 0) return;
    const row = rowOf(rows, i);
    for (let k = 0; k < rows.dim; k += 1) data[k] += (weight / total) * row[k];
  });
  return { dim: rows.dim, data };
}
