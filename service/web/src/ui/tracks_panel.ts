/** The list of instruments: name, color, mute, solo, volume, and a button to leave it out. */

import type { TrackView } from "../transcription/tracks";
import { h, iconButton } from "./dom";

export class TracksPanel {
  readonly element = h("section", { className: "panel tracks", aria: { label: "Instruments" } });
  private readonly list = h("ul", { className: "track-list" });
  private readonly count = h("span", { className: "quiet" });
  private tracks: TrackView[] = [];
  private shown = "";

  /** @param onChange called with the tracks after each change by the user. */
  constructor(private readonly onChange: (tracks: TrackView[]) => void) {
    this.element.append(h("h2", {}, "Instruments ", this.count), this.list);
  }

  update(tracks: TrackView[]): void {
    this.tracks = tracks;
    const notes = tracks.reduce((sum, track) => sum + (track.isRemoved ? 0 : track.noteCount), 0);
    this.count.textContent = `${notes.toLocaleString()} notes`;
    const keys = tracks.map((track) => `${track.key} ${track.color}`).join();
    // Rows are kept while notes arrive, so that the focus stays where it is.
    if (keys !== this.shown) {
      this.shown = keys;
      this.list.replaceChildren(...tracks.map((track) => this.row(track)));
    }
    for (const [index, track] of tracks.entries()) this.refresh(this.list.children[index] as HTMLElement, track);
  }

  private row(track: TrackView): HTMLElement {
    const { key } = track;
    const name = h("input", { className: "track-name", value: track.name, aria: { label: `Name of ${track.name}` }, spellcheck: false });
    name.addEventListener("change", () => this.change(key, (each) => (each.name = name.value.trim() || each.name)));
    const color = h("input", { type: "color", className: "swatch", value: track.color, aria: { label: `Color of ${track.name}` } });
    color.addEventListener("change", () => this.change(key, (each) => Object.assign(each, { color: color.value, hasOwnColor: true })));
    const volume = h("input", { type: "range", min: "0", max: "1.5", step: "0.05", value: "1", className: "track-volume", aria: { label: `Volume of ${track.name}` } });
    volume.addEventListener("input", () => this.change(key, (each) => (each.volume = Number(volume.value))));
    return h(
      "li",
      { className: "track", data: { track: key } },
      color, name, h("span", { className: "track-count quiet" }), volume,
      toggle("M", `Mute ${track.name}`, "mute", () => this.change(key, (each) => (each.isMuted = !each.isMuted))),
      toggle("S", `Solo ${track.name}`, "solo", () => this.change(key, (each) => (each.isSolo = !each.isSolo))),
      iconButton("trash", `Leave out ${track.name}`, () => this.change(key, (each) => (each.isRemoved = !each.isRemoved)), "icon-button small remove"),
    );
  }

  private refresh(row: HTMLElement, track: TrackView): void {
    (row.querySelector(".track-count") as HTMLElement).textContent = track.noteCount.toLocaleString();
    row.classList.toggle("removed", track.isRemoved);
    row.querySelector(".mute")?.setAttribute("aria-pressed", String(track.isMuted));
    row.querySelector(".solo")?.setAttribute("aria-pressed", String(track.isSolo));
    row.querySelector(".remove")?.setAttribute("aria-pressed", String(track.isRemoved));
  }

  private change(key: string, edit: (track: TrackView) => void): void {
    this.tracks = this.tracks.map((track) => ({ ...track }));
    const track = this.tracks.find((each) => each.key === key);
    if (track === undefined) return;
    edit(track);
    this.onChange(this.tracks);
  }
}

function toggle(text: string, label: string, className: string, onclick: () => void): HTMLButtonElement {
  const made = h("button", { type: "button", className: `toggle ${className}`, title: label, aria: { label, pressed: "false" }, onclick }, text);
  return made;
}
