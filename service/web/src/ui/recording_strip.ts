/** Explains why the recording cannot be played, and accepts the file again. */

import { h } from "./dom";

export type MissingReason = "absent" | "undecodable";

const REASONS: Record<MissingReason, string> = {
  absent: "Only the transcription can be played: neither the server nor this browser still has the recording. Drop or choose the same file to hear both.",
  undecodable: "Only the transcription can be played: this browser cannot decode the recording. Drop or choose the same music as WAV, MP3 or M4A to hear both.",
};

export class RecordingStrip {
  readonly element = h("div", { className: "recording-strip", hidden: true });
  private readonly text = h("p", {});

  constructor(onFile: (file: File) => void) {
    const input = h("input", { type: "file", accept: "audio/*,video/*", className: "visually-hidden", id: "recording" });
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      input.value = "";
      if (file !== undefined) onFile(file);
    });
    this.element.append(this.text, input, h("label", { className: "button small", htmlFor: "recording" }, "Choose the recording"));
  }

  get isShown(): boolean {
    return !this.element.hidden;
  }

  show(reason: MissingReason | null): void {
    this.element.hidden = reason === null;
    if (reason !== null) this.text.textContent = REASONS[reason];
  }
}
