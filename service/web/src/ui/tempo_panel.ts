/** Tempo, meter and bar lines, corrected by ear: the server counts again from the notes. */

import type { Transcription } from "../api/types";
import { button, h } from "./dom";

/** Options of `POST /v1/exports`; those that the person has not set are left out. */
export type RhythmOptions = Partial<Record<"tempo" | "time_signature" | "first_downbeat", string>>;

const METERS = ["2/4", "3/4", "4/4", "5/4", "6/8", "9/8", "12/8"];
const UNSURE = 0.5;

export class TempoPanel {
  readonly element = h("section", { className: "panel tempo", hidden: true, aria: { label: "Tempo and bars" } });
  private readonly bpm = h("input", { id: "bpm", inputMode: "decimal", size: 5, aria: { label: "Beats per minute" } });
  private readonly meter = h("select", { aria: { label: "Meter" } }, ...METERS.map((name) => h("option", { value: name }, name)));
  private readonly facts = h("p", { className: "quiet", role: "status" });
  private readonly reset: HTMLButtonElement;
  private chosen: RhythmOptions = {};

  /**
   * @param position the cursor, in seconds.
   * @param onChange asks for beats and bars under the options.
   */
  constructor(position: () => number, private readonly onChange: (options: RhythmOptions) => void) {
    this.reset = button("Start over", () => this.set({}, true), "button small");
    this.bpm.addEventListener("change", () => {
      const tempo = Number(this.bpm.value.replace(",", "."));
      if (tempo > 0) this.set({ tempo: String(tempo) });
    });
    this.meter.addEventListener("change", () => this.set({ time_signature: this.meter.value }));
    const scaled = (label: string, title: string, factor: number): HTMLButtonElement => {
      const made = button(label, () => this.set({ tempo: String(Math.round(Number(this.bpm.value) * factor * 100) / 100) }), "button small");
      made.title = title;
      return made;
    };
    const here = button("Bar line at the cursor", () => this.set({ first_downbeat: position().toFixed(3) }), "button small");
    this.element.append(
      h("h2", {}, "Tempo and bars"),
      h(
        "div", { className: "tempo-row" },
        h("label", { className: "field" }, "♩", this.bpm), scaled("÷ 2", "Half the tempo", 0.5), scaled("× 2", "Double the tempo", 2),
        h("label", { className: "field" }, this.meter), here, this.reset,
      ),
      this.facts,
    );
  }

  get options(): RhythmOptions {
    return this.chosen;
  }

  begin(): void {
    this.chosen = {};
    this.element.hidden = true;
  }

  show(transcription: Transcription): void {
    const { tempo, time_signature: meter, key } = transcription;
    this.element.hidden = !tempo;
    if (!tempo || !meter) return;
    this.bpm.value = String(Math.round(tempo.beats_per_minute * 10) / 10);
    const name = `${meter.numerator}/${meter.denominator}`;
    if (![...this.meter.options].some((option) => option.value === name)) this.meter.append(h("option", { value: name }, name));
    this.meter.value = name;
    const doubts = [tempo.confidence < UNSURE && "tempo", meter.confidence < UNSURE && "bars"].filter(Boolean).join(" and ");
    this.facts.textContent = `${key ? `${key.name}. ` : ""}${doubts ? `Not sure of the ${doubts}: listen and correct.` : ""}`;
    this.reset.hidden = Object.keys(this.chosen).length === 0;
  }

  private set(options: RhythmOptions, replace = false): void {
    this.chosen = replace ? options : { ...this.chosen, ...options };
    this.onChange(this.chosen);
  }
}
