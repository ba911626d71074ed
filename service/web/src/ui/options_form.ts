/** The options of a transcription that users may want to set, as far as the server has them. */

import type { Features } from "../api/features";
import type { Options } from "../api/stream";
import { button, h } from "./dom";

export interface InstrumentFamily {
  name: string;
  instruments: string[];
}

const STEPS: Record<string, string> = {
  ties: "One note where the model changes its instrument halfway",
  false_drums: "No drums where the model mistook plucked notes for them",
  bass_octave: "Bass in the octave heard in the recording",
  part_octave: "Parts in the octave heard in the recording",
  duplicates: "One note where two instruments share it",
  ensemble: "One set of instruments for the whole piece",
  usual_programs: "The usual instrument of each kind",
  velocity: "Dynamics from the recording",
  confidence: "Calibrated confidence of each note",
};

export class OptionsForm {
  readonly element = h("div", { className: "options" });
  private readonly chosen = new Set<string>();

  constructor(
    private readonly features: Features,
    private readonly families: readonly InstrumentFamily[],
    private readonly models: readonly string[],
  ) {
    this.build();
  }

  /** The options that differ from the server's own choice. */
  get options(): Options {
    const options: Options = {};
    const add = (name: string, value: string): void => {
      if (value !== "" && this.features.options.has(name)) options[name] = value;
    };
    if (this.chosen.size > 0) options.instruments = [...this.chosen];
    add("start", seconds(this.value("start")));
    add("end", seconds(this.value("end")));
    add("audio_track", this.value("audio_track"));
    add("model", this.value("model"));
    add("quality", this.value("quality"));
    const cleaning = this.value("postprocess");
    if (cleaning === "steps") add("postprocess", this.steps() || "none");
    else add("postprocess", cleaning);
    return options;
  }

  private build(): void {
    if (this.features.options.has("instruments")) this.element.append(this.instruments());
    const row = h("div", { className: "option-row" });
    if (this.models.length > 1) row.append(this.select("model", "Model", this.models.map((name) => [name, name])));
    row.append(this.time("start", "From", "0:00"), this.time("end", "To", "the end"));
    if (this.features.options.has("audio_track"))
      row.append(h("label", { className: "field" }, "Audio track", h("input", { name: "audio_track", placeholder: "main", inputMode: "numeric", size: 4 })));
    if (this.features.options.has("quality"))
      row.append(this.select("quality", "Quality", [["", "Standard"], ["high", "High (twice the time)"]]));
    if (this.features.options.has("postprocess"))
      row.append(
        this.select("postprocess", "Clean-up", [["", "Recommended"], ["none", "None (the model's own notes)"], ["steps", "Choose steps"]]),
      );
    this.element.append(row, this.stepBoxes());
  }

  private instruments(): HTMLElement {
    const chips = h("div", { className: "chips" });
    const add = (value: string, label: string): void => {
      const chip = button(label, () => {
        if (!this.chosen.delete(value)) this.chosen.add(value);
        chip.setAttribute("aria-pressed", String(this.chosen.has(value)));
      }, "chip");
      chip.setAttribute("aria-pressed", "false");
      chips.append(chip);
    };
    for (const family of this.families) add(family.name, family.name);
    add("drums", "Drums");
    return h(
      "fieldset",
      {},
      h("legend", {}, "Which instruments play? "),
      h("p", { className: "quiet" }, "If you name the instruments, no others can appear. Leave this empty to find them all."),
      chips,
    );
  }

  private stepBoxes(): HTMLElement {
    const boxes = Object.entries(STEPS).map(([name, label]) =>
      h("label", { className: "check" }, h("input", { type: "checkbox", name: "step", value: name, checked: true }), label),
    );
    const steps = h("div", { className: "steps", hidden: true }, ...boxes);
    this.element.addEventListener("change", () => (steps.hidden = this.value("postprocess") !== "steps"));
    return steps;
  }

  private steps(): string {
    const boxes = this.element.querySelectorAll<HTMLInputElement>("input[name=step]:checked");
    return [...boxes].map((box) => box.value).join(",");
  }

  private time(name: string, label: string, placeholder: string): HTMLElement {
    const input = h("input", { name, placeholder, inputMode: "numeric", size: 7, pattern: "\\d+(:\\d\\d?)?([.,]\\d+)?" });
    return h("label", { className: "field" }, label, input);
  }

  private select(name: string, label: string, choices: readonly (readonly [string, string])[]): HTMLElement {
    const select = h("select", { name }, ...choices.map(([value, text]) => h("option", { value }, text)));
    return h("label", { className: "field" }, label, select);
  }

  private value(name: string): string {
    return this.element.querySelector<HTMLInputElement | HTMLSelectElement>(`[name=${name}]`)?.value.trim() ?? "";
  }
}

/** "1:30" or "90" -> "90"; anything else as it is, for the server to refuse with a reason. */
export function seconds(text: string): string {
  const parts = /^(?:(\d+):)?(\d+(?:\.\d+)?)$/.exec(text.replace(",", "."));
  return parts === null ? text : String(Number(parts[1] ?? 0) * 60 + Number(parts[2]));
}
