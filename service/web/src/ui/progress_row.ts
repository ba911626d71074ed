/** The progress of a transcription, its remaining time, and a button to cancel it. */

import { sentence } from "../api/problem";
import { clock } from "../roll/time_axis";
import { remainingSeconds, type TranscriptionProgress } from "../transcription/progress";
import { button, h } from "./dom";

export class ProgressRow {
  readonly element: HTMLElement;
  private readonly bar = h("progress", { max: 1, aria: { label: "Progress" } });
  private readonly text = h("span", { role: "status" });
  private began = 0;

  constructor(onCancel: () => void) {
    this.element = h("div", { className: "progress-row" }, this.bar, this.text, button("Cancel", onCancel));
  }

  begin(): void {
    this.began = performance.now();
    this.say("");
  }

  /** Shows a sentence while the progress is not known. */
  say(text: string): void {
    this.bar.removeAttribute("value");
    if (this.text.textContent !== text) this.text.textContent = text;
  }

  show(progress: TranscriptionProgress): void {
    const { fraction, phase } = progress;
    if (phase === "sending" || phase === "waiting") this.began = performance.now();
    const text = {
      sending: `Sending… ${Math.round(progress.sentFraction * 100)} %`,
      waiting: "Waiting for the server…",
      transcribing: this.transcribing(progress),
      done: "", failed: progress.problem ? sentence(progress.problem) : "",
    }[phase];
    this.say(text);
    const value = phase === "sending" ? progress.sentFraction : fraction;
    if (value !== null) this.bar.value = value;
  }

  private transcribing(progress: TranscriptionProgress): string {
    const remaining = remainingSeconds(progress.fraction, (performance.now() - this.began) / 1000);
    const left = remaining === null ? "" : `, ${remaining < 1.5 ? "almost done" : `${clock(Math.ceil(remaining))} left`}`;
    const total = progress.totalSeconds === null ? "" : ` of ${clock(progress.totalSeconds)}`;
    return `Transcribing ${clock(progress.doneSeconds)}${total}${left}`;
  }
}
