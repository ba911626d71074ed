/** Keys that act on the transcription, and the list of them. */

import { h } from "./dom";

export interface Shortcut {
  /** Values of `KeyboardEvent.key`; the first is shown unless `shown` is given. */
  keys: readonly string[];
  shown?: string;
  about: string;
  act: (event: KeyboardEvent) => void;
}

/** @param isActive whether the keys are active at present. */
export function listenForShortcuts(shortcuts: readonly Shortcut[], isActive: () => boolean): void {
  const actions = new Map(shortcuts.flatMap(({ keys, act }) => keys.map((key) => [key, act] as const)));
  document.addEventListener("keydown", (event) => {
    if (!isActive() || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (target.matches("input, select, textarea, dialog *")) return;
    // Space presses a button that has the focus.
    if (event.key === " " && target.matches("button, a, summary")) return;
    const act = actions.get(event.key);
    if (act === undefined) return;
    event.preventDefault();
    act(event);
  });
}

export function shortcutList(shortcuts: readonly Shortcut[]): HTMLElement {
  const rows = shortcuts.map(({ keys, shown, about }) => h("div", {}, h("dt", {}, h("kbd", {}, shown ?? keys[0] ?? "")), h("dd", {}, about)));
  return h("details", { className: "panel" }, h("summary", {}, "Keyboard"), h("dl", { className: "keys" }, ...rows));
}
