/** Downloads of the transcription: a file in each format, its sound, or all as a zip. */

import type { Client } from "../api/client";
import type { Transcription } from "../api/types";
import { type FileFormat, fileStem, offeredFormats, writeFile, zipFiles } from "../export/files";
import { h, icon, save } from "./dom";

export interface DownloadSource {
  /** The transcription with the user's changes; null until it is done. */
  transcription: () => Transcription | null;
  name: () => string;
  /** Options of the export: tempo, meter, grid. */
  options: () => Record<string, string>;
  renderWav: (midi: ArrayBuffer, seconds: number) => Promise<Blob>;
}

const GRIDS = [["1/4", "quarters"], ["1/8", "eighths"], ["1/8t", "triplets"], ["1/16", "sixteenths"]] as const;

export class DownloadsPanel {
  readonly element = h("section", { className: "panel downloads", aria: { label: "Downloads" } });
  private readonly grid = h("select", { aria: { label: "Grid of the MIDI file" } }, h("option", { value: "" }, "as played"));

  constructor(
    private readonly client: Client,
    formats: readonly string[],
    canQuantize: boolean,
    private readonly source: DownloadSource,
    private readonly onError: (error: unknown) => void,
  ) {
    const offered = offeredFormats(formats);
    const list = h("ul", { className: "download-list" });
    const more = h("ul", {});
    for (const format of offered) (format.isRare ? more : list).append(this.item(format.label, format.about, () => this.downloadFormat(format)));
    list.append(this.item("Audio", "the transcription as WAV", () => this.downloadWav()));
    list.append(this.item("All as zip", "every format except audio", () => this.downloadZip(offered)));
    for (const [value, name] of GRIDS) this.grid.append(h("option", { value }, `on a grid of ${name}`));
    this.element.append(h("h2", {}, "Downloads"), canQuantize ? h("label", { className: "field" }, "MIDI ", this.grid) : "", list);
    if (more.childElementCount > 0) this.element.append(h("details", { className: "more-formats" }, h("summary", {}, "More formats"), more));
  }

  private item(label: string, about: string, act: () => Promise<void>): HTMLElement {
    const made = h("button", { type: "button", className: "download" }, icon("download"), h("span", {}, h("b", {}, label), " ", h("span", { className: "quiet" }, about)));
    made.addEventListener("click", () => {
      made.disabled = true;
      made.classList.add("busy");
      act().catch(this.onError).finally(() => {
        made.disabled = false;
        made.classList.remove("busy");
      });
    });
    return h("li", {}, made);
  }

  private get transcription(): Transcription {
    const found = this.source.transcription();
    if (found === null) throw new Error("nothing is transcribed yet");
    return found;
  }

  private write(format: string): Promise<Blob> {
    const grid = format === "midi" && this.grid.value ? { quantize: this.grid.value } : {};
    const title = fileStem(this.source.name());
    return writeFile(this.client, this.transcription, format, { title, ...this.source.options(), ...grid });
  }

  private async downloadFormat({ format, suffix }: FileFormat): Promise<void> {
    save(await this.write(format), fileStem(this.source.name()) + suffix);
  }

  private async downloadWav(): Promise<void> {
    const seconds = this.transcription.notes.reduce((end, note) => Math.max(end, note.end_time), 0);
    const midi = await writeFile(this.client, this.transcription, "midi");
    save(await this.source.renderWav(await midi.arrayBuffer(), seconds), `${fileStem(this.source.name())}.wav`);
  }

  private async downloadZip(offered: readonly FileFormat[]): Promise<void> {
    const stem = fileStem(this.source.name());
    const files = new Map<string, Blob>();
    for (const { format, suffix } of offered) files.set(stem + suffix, await this.write(format));
    save(await zipFiles(files), `${stem}.zip`);
  }
}
