/** Tempo, meter and bar lines, corrected by ear: the server computes the beats again from the notes. */

import type { Transcription } from "../api/types";
import type { RhythmOptions } from "../transcription/edits";
import { TapCounter } from "../transcription/tapping";
import { button, h } from "./dom";

export interface TempoHandlers {
  /** The onset near the cursor, or the cursor itself, in seconds. */
  position: () => number;
  /** Lets the user pick a time by clicking on the roll; null ends that. */
  pick: (onPick: ((seconds: number) => void) | null) => void;
  /** Requests beats and bars for these options; false if the server refused them. */
  onChange: (options: RhythmOptions) => Promise<boolean>;
}

const METERS = ["2/4", "3/4", "4/4", "5/4", "6/8", "9/8", "12/8"];
const UNSURE = 0.5;
/** The tempo is sent when no tap follows for this time. */
const LAST_TAP_MILLISECONDS = 1200;

export class TempoPanel {
  readonly element = h("section", { className: "panel tempo", hidden: true, aria: { label: "Tempo and bars" } });
  private readonly bpm = h("input", { id: "bpm", inputMode: "decimal", size: 5, aria: { label: "Beats per minute" } });
  private readonly meter = h("select", { aria: { label: "Meter" } }, ...METERS.map((name) => h("option", { value: name }, name)));
  private readonly facts = h("p", { className: "quiet", role: "status" });
  private readonly reset: HTMLButtonElement;
  private readonly picking: HTMLButtonElement;
  private readonly tapping: HTMLButtonElement;
  private readonly taps = new TapCounter();
  private lastTap: number | null = null;
  private chosen: RhythmOptions = {};
  private summary = "";
  private beatsPerMinute: number | null = null;

  constructor(private readonly handlers: TempoHandlers) {
    this.reset = button("Start over", () => this.set({}, true), "button small");
    this.bpm.addEventListener("change", () => this.setTempo(Number(this.bpm.value.replace(",", "."))));
    this.meter.addEventListener("change", () => this.set({ time_signature: this.meter.value }));
    const scaled = (label: string, title: string, factor: number): HTMLButtonElement => {
      const made = button(label, () => this.setTempo((this.beatsPerMinute ?? 0) * factor), "button small");
      made.title = title;
      made.setAttribute("aria-label", `${label}: ${title}`);
      return made;
    };
    this.tapping = button("Tap", () => this.tap(), "button small");
    this.tapping.title = "Tap the beats along with the music, four or more";
    const here = button("At the cursor", () => this.barLineHere(), "button small");
    here.title = "Start a bar at the cursor (B)";
    this.picking = button("By clicking", () => this.pick(this.picking.getAttribute("aria-pressed") !== "true"), "button small");
    this.picking.title = "Click on the roll where a bar begins";
    this.picking.setAttribute("aria-pressed", "false");
    this.element.append(
      h("h2", {}, "Tempo and bars"),
      h("div", { className: "tempo-row" }, h("label", { className: "field" }, "♩ =", this.bpm), scaled("÷ 2", "Half the tempo", 0.5), scaled("× 2", "Double the tempo", 2), this.tapping),
      h("div", { className: "tempo-row" }, h("label", { className: "field" }, "Meter", this.meter), this.reset),
      h("div", { className: "tempo-row", role: "group", aria: { label: "Bar line" } }, h("span", { className: "quiet" }, "Bar line"), here, this.picking),
      this.facts,
    );
  }

  get options(): RhythmOptions {
    return this.chosen;
  }

  /** @param chosen the user's earlier settings for this transcription. */
  begin(chosen: RhythmOptions = {}): void {
    this.chosen = chosen;
    this.element.hidden = true;
    this.pick(false);
  }

  show(transcription: Transcription): void {
    const { tempo, time_signature: meter, key, notes } = transcription;
    this.element.hidden = notes.length === 0;
    this.reset.hidden = Object.keys(this.chosen).length === 0;
    this.beatsPerMinute = tempo ? Math.round(tempo.beats_per_minute * 10) / 10 : null;
    this.bpm.value = String(this.beatsPerMinute ?? "");
    if (!tempo || !meter) {
      this.meter.value = "";
      this.say("Too few notes to find a tempo: type one, or tap it.");
      return;
    }
    const name = `${meter.numerator}/${meter.denominator}`;
    if (![...this.meter.options].some((option) => option.value === name)) this.meter.append(h("option", { value: name }, name));
    this.meter.value = name;
    const doubts = [tempo.confidence < UNSURE && "tempo", meter.confidence < UNSURE && "bars"].filter(Boolean).join(" and ");
    this.say(`${key ? `${key.name}. ` : ""}${doubts ? `Not sure of the ${doubts}: listen with the metronome and correct it.` : ""}`);
  }

  barLineHere(): void {
    if (!this.element.hidden) this.setBarLine(this.handlers.position());
  }

  /** Ends the choice of a bar line by a click. @returns whether there was one. */
  cancelPick(): boolean {
    const isPicking = this.picking.getAttribute("aria-pressed") === "true";
    if (isPicking) this.pick(false);
    return isPicking;
  }

  private pick(isPicking: boolean): void {
    this.picking.setAttribute("aria-pressed", String(isPicking));
    this.facts.textContent = isPicking ? "Click on the roll where a bar begins; Esc cancels." : this.summary;
    this.handlers.pick(isPicking ? (seconds) => {
      this.pick(false);
      this.setBarLine(seconds);
    } : null);
  }

  private tap(): void {
    const tempo = this.taps.tap(performance.now());
    this.tapping.textContent = `Tap ${this.taps.count}`;
    if (this.lastTap !== null) clearTimeout(this.lastTap);
    if (tempo !== null) this.bpm.value = tempo.toFixed(1);
    this.lastTap = window.setTimeout(() => {
      this.tapping.textContent = "Tap";
      if (tempo !== null) this.setTempo(tempo);
    }, LAST_TAP_MILLISECONDS);
  }

  private setBarLine(seconds: number): void {
    this.set({ first_downbeat: seconds.toFixed(3) });
  }

  private setTempo(beatsPerMinute: number): void {
    if (beatsPerMinute > 0) {
      this.set({ tempo: String(Math.round(beatsPerMinute * 100) / 100) });
      return;
    }
    this.bpm.value = String(this.beatsPerMinute ?? "");
    this.facts.textContent = "A tempo is a number of beats per minute, such as 120.";
  }

  private say(summary: string): void {
    this.facts.textContent = this.summary = summary;
  }

  private set(options: RhythmOptions, replace = false): void {
    const before = this.chosen;
    const chosen = (this.chosen = replace ? options : { ...before, ...options });
    void this.handlers.onChange(chosen).then((isDone) => {
      if (!isDone && this.chosen === chosen) this.chosen = before;
    });
  }
}
