/** Asks for the API key that the server requires. It is kept in this browser. */

import { button, h } from "./dom";

export function askKey(): Promise<string | null> {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "key", autocomplete: "off", required: true, id: "api-key", spellcheck: false });
    const dialog = h(
      "dialog",
      { className: "dialog", aria: { labelledby: "key-title" } },
      h("h2", { id: "key-title" }, "This server requires an API key"),
      h("p", { className: "quiet" }, "Ask its operator for one. The key is kept in this browser and sent to this server only."),
    );
    const form = h(
      "form",
      { method: "dialog" },
      h("label", { htmlFor: "api-key" }, "API key"), input,
      h("div", { className: "actions" }, button("Not now", () => dialog.close()), h("button", { type: "submit", className: "button primary", value: "use" }, "Use this key")),
    );
    dialog.append(form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "use" && input.value.trim() ? input.value.trim() : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
