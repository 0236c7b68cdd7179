/** The service worker of a page without a server: works offline, and changes to a new version when a person says so. */

/** @import {Workspace} from "./workspace.js" */

/** @param {Workspace} workspace */
export async function mountOffline(workspace) {
  if (!("serviceWorker" in navigator)) return; // a page without TLS
  const { serviceWorker } = navigator;
  let hasController = serviceWorker.controller !== null;
  let registration;
  try {
    registration = await serviceWorker.register("service_worker.js", { updateViaCache: "none" });
  } catch {
    return; // the browser stores nothing; the page works as long as its site answers
  }
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => {
      if (registration.active && registration.waiting) offerUpdate(registration.waiting, workspace);
      else if (installing.state === "activated") workspace.notices.announce("This page works offline now.");
    });
  });
  if (registration.active && registration.waiting) offerUpdate(registration.waiting, workspace);
  serviceWorker.addEventListener("controllerchange", async () => {
    if (hasController) {
      await workspace.save();
      location.reload();
    }
    hasController = true; // the first worker takes over a page that has the files of its version already
  });
}

/**
 * @param {ServiceWorker} worker
 * @param {Workspace} workspace
 */
function offerUpdate(worker, workspace) {
  workspace.notices.show("There is a new version of this page.", {
    label: "Reload",
    run: () => worker.postMessage("take over"),
  });
}
