/**
 * Makes a page without a server work offline: its files are stored once per version, each checked against its SHA-256.
 *
 * `files.js`, which `seem page` writes, names them. A version is installed as a whole or not at all, and takes over when
 * the page asks for it, so that no page mixes two versions.
 */

const scope = /** @type {any} */ (self);
scope.importScripts("files.js");

/** @type {{version: string, needed: Record<string, string>, optional: Record<string, string>}} */
const { version, needed, optional } = scope.SEEM_FILES;
const PREFIX = `seem ${new URL(".", scope.location.href).pathname} `; // several pages may share a site
const CACHE = PREFIX + version;
/** @type {Record<string, string>} */
const SUMS = { ...needed, ...optional };
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
}; // threads of WebAssembly need them, and few static hosts send them

scope.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
scope.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
scope.addEventListener("message", (/** @type {any} */ event) => {
  if (event.data === "take over") scope.skipWaiting();
});
scope.addEventListener("fetch", (/** @type {any} */ event) => {
  const name = nameOf(event.request.url);
  if (event.request.method === "GET" && name !== null) event.respondWith(answer(name));
});

async function install() {
  const cache = await caches.open(CACHE);
  for (const name of Object.keys(needed)) {
    if (!(await cache.match(addressOf(name)))) await store(cache, name);
  }
}

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await scope.clients.claim();
}

/**
 * Return the name of one of the page's files; null for another address.
 * @param {string} address
 */
function nameOf(address) {
  const folder = new URL(".", scope.location.href).href;
  if (!address.startsWith(folder)) return null;
  const name = decodeURIComponent(address.slice(folder.length).replace(/[?#].*$/, "")) || "index.html";
  return name in SUMS ? name : null;
}

/** @param {string} name */
function addressOf(name) {
  return new URL(name, scope.location.href).href;
}

/** @param {string} name */
async function answer(name) {
  const cache = await caches.open(CACHE);
  return (await cache.match(addressOf(name))) ?? store(cache, name);
}

/**
 * Fetch a file and store it, if it is the one of this version.
 * @param {Cache} cache
 * @param {string} name
 */
async function store(cache, name) {
  const address = addressOf(name);
  let content = await read(address, "default");
  if ((await digestOf(content)) !== SUMS[name]) content = await read(address, "reload"); // the browser had an old one
  if ((await digestOf(content)) !== SUMS[name]) throw new Error(`${name} is not the file of version ${version}`);
  const headers = { "Content-Type": TYPES[name.split(".").pop() ?? ""] ?? "application/octet-stream", ...ISOLATION };
  const response = new Response(content, { headers });
  await cache.put(address, response.clone());
  return response;
}

/**
 * @param {string} address
 * @param {RequestCache} mode
 */
async function read(address, mode) {
  const response = await fetch(address, { cache: mode });
  if (!response.ok) throw new Error(`${address}: status ${response.status}`);
  return response.arrayBuffer();
}

/** @param {ArrayBuffer} content */
async function digestOf(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @type {Record<string, string>} */
const TYPES = {
  css: "text/css",
  html: "text/html; charset=utf-8",
  jpg: "image/jpeg",
  js: "text/javascript",
  json: "application/json",
  md: "text/plain; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
  wasm: "application/wasm",
  webmanifest: "application/manifest+json",
};
