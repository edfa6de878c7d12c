/* What is said before and around opening a desktop: how to get a viewer, and whom it may cut off. */

import { h, name } from "/web/dom.js";
import { dialog } from "/web/dialog.js";

export function showViewers() {
  const command = (text) => h("code", {}, text);
  dialog({
    title: "Get a viewer",
    cancel: "Close",
    body: [
      h(
        "p",
        {},
        "Desktops open in ",
        h("strong", {}, "remote-viewer"),
        ", which is free. Install it once; after that, downloaded ",
        command(".vv"),
        " files open with a double click.",
      ),
      h(
        "dl",
        { class: "facts" },
        h("dt", {}, "Debian, Ubuntu"),
        h("dd", {}, command("sudo apt install virt-viewer")),
        h("dt", {}, "Fedora, RHEL"),
        h("dd", {}, command("sudo dnf install virt-viewer")),
        h("dt", {}, "Windows"),
        h(
          "dd",
          {},
          "The “virt-viewer” installer from ",
          h(
            "a",
            {
              href: "https://virt-manager.org/download",
              target: "_blank",
              rel: "noreferrer noopener",
            },
            "virt-manager.org",
          ),
        ),
        h("dt", {}, "macOS"),
        h("dd", {}, command("brew install virt-viewer")),
      ),
      h(
        "p",
        { class: "fine" },
        "Does a downloaded file open in something else? Choose “Open with” and remote-viewer, and make that the default.",
      ),
    ],
  });
}

/* A promise of true if it shall be opened nevertheless. users: who is connected, as far as one may
 * know. */
export function confirmTakeover(console, users) {
  return dialog({
    title: "This desktop is in use",
    body: [
      h(
        "p",
        {},
        users.length
          ? [h("strong", {}, name(users.map((s) => s.user).join(", "))), " is connected to "]
          : "Somebody is connected, perhaps you from another screen, to ",
        h("strong", {}, name(console.name ?? console.uuid)),
        ".",
      ),
      h(
        "p",
        {},
        "Most hypervisors serve one viewer at a time: when you open it, they may lose it.",
      ),
    ],
    submit: "Open it",
    act: async () => true,
  }).closed;
}
