/** Which engine answers this page: the document says so, and `seem page` writes another one than `seem serve`. */

/** @import {Engine} from "../types.js" */

import { ServerEngine } from "./server_engine.js";

/** Whether the model runs in this browser, without a server. */
export const runsInBrowser = document.documentElement.dataset.engine === "browser";

/** @returns {Promise<Engine>} */
export async function chosenEngine() {
  if (!runsInBrowser) return new ServerEngine();
  const { BrowserEngine } = await import("./browser_engine.js");
  return new BrowserEngine();
}
