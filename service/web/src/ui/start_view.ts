/** The start view: drop, choose or record; and earlier transcriptions. */

import type { Options } from "../api/stream";
import { Microphone } from "../microphone";
import { clock } from "../roll/time_axis";
import { button, h, icon } from "./dom";
import type { OptionsForm } from "./options_form";

export interface StartHandlers {
  onFiles: (files: File[], options: Options) => void;
  onError: (error: unknown) => void;
}

const ACCEPTED = "audio/*,video/*,.flac,.opus,.ogg,.m4a,.aiff,.wav,.mp3,.json";

export class StartView {
  readonly element = h("section", { className: "start", aria: { label: "Start" } });
  private readonly input = h("input", { type: "file", accept: ACCEPTED, multiple: true, className: "visually-hidden", id: "files" });
  private readonly history = h("div", { className: "history" });
  private readonly recordButton: HTMLButtonElement;
  private readonly again = h("p", { className: "again", hidden: true });
  private microphone: Microphone | null = null;

  constructor(private readonly form: OptionsForm, private readonly handlers: StartHandlers) {
    this.recordButton = h("button", { type: "button", className: "button", onclick: () => void this.record() }, icon("mic"), "Record");
    this.recordButton.hidden = !Microphone.isAvailable;
    const choose = h("label", { className: "button primary", htmlFor: "files" }, "Choose recordings");
    const drop = h(
      "div",
      { className: "drop" },
      h("div", { className: "drop-art", aria: { hidden: "true" } }, ...Array.from({ length: 9 }, () => h("span"))),
      h("h1", {}, "Drop a recording, see its notes"),
      h("p", { className: "quiet" }, "Every instrument on its own line, as MIDI, score and more. Several recordings become a job."),
      h("div", { className: "actions" }, this.input, choose, this.recordButton),
    );
    const details = h("details", { className: "card" }, h("summary", {}, "Options"), form.element);
    this.element.append(drop, this.again, details, this.history);
    this.input.addEventListener("change", () => {
      this.take([...(this.input.files ?? [])]);
      this.input.value = "";
    });
    this.listenForDrops(drop);
  }

  setHistory(...lists: (HTMLElement | null)[]): void {
    this.history.replaceChildren(...lists.filter((list): list is HTMLElement => list !== null));
  }

  /** Offers to transcribe the previous recording with other options. */
  offerAgain(file: File | null): void {
    this.again.hidden = file === null;
    if (file === null) return;
    const go = button(`Transcribe “${file.name}” again`, () => this.take([file]), "button primary");
    this.again.replaceChildren("Choose other options, then ", go);
    const details = this.element.querySelector("details");
    if (details !== null) details.open = true;
  }

  private take(files: File[]): void {
    if (files.length > 0) this.handlers.onFiles(files, this.form.options);
  }

  private async record(): Promise<void> {
    try {
      if (this.microphone === null) {
        this.microphone = await Microphone.open();
        this.showRecording(performance.now());
      } else {
        const microphone = this.microphone;
        this.microphone = null;
        this.recordButton.classList.remove("recording");
        this.recordButton.replaceChildren(icon("mic"), "Record");
        this.take([await microphone.stop()]);
      }
    } catch (error) {
      this.microphone = null;
      this.handlers.onError(error);
    }
  }

  private showRecording(began: number): void {
    if (this.microphone === null) return;
    this.recordButton.classList.add("recording");
    this.recordButton.replaceChildren(icon("stop"), `Stop and transcribe (${clock((performance.now() - began) / 1000)})`);
    setTimeout(() => this.showRecording(began), 500);
  }

  private listenForDrops(drop: HTMLElement): void {
    const isFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    document.addEventListener("dragover", (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      drop.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) drop.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      drop.classList.remove("over");
      this.take([...(event.dataTransfer?.files ?? [])]);
    });
  }
}
