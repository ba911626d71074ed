/** The transcription as notation, drawn when it is first looked at. */

import { h } from "./dom";

export class ScorePanel {
  readonly element = h("section", { className: "score", hidden: true, aria: { label: "Score" } });
  private readonly parts = h("select", { aria: { label: "Part" } });
  private readonly page = h("div", { className: "score-page" });
  private readonly status = h("p", { className: "quiet", role: "status" });

  constructor() {
    this.element.append(h("div", { className: "score-bar" }, h("label", { className: "field" }, "Part ", this.parts)), this.status, this.page);
  }

  async show(musicXml: string): Promise<void> {
    this.status.textContent = "Drawing the score…";
    const { OpenSheetMusicDisplay } = await import("opensheetmusicdisplay");
    this.page.replaceChildren();
    const display = new OpenSheetMusicDisplay(this.page, {
      autoResize: true, drawingParameters: "compacttight", drawTitle: false, drawComposer: false,
      drawPartNames: true, pageBackgroundColor: "#ffffff",
    });
    await display.load(musicXml);
    const instruments = display.Sheet.Instruments;
    this.parts.replaceChildren(
      h("option", { value: "" }, "All parts"),
      ...instruments.map((instrument, index) => h("option", { value: String(index) }, instrument.Name || `Part ${index + 1}`)),
    );
    this.parts.onchange = () => {
      const chosen = this.parts.value;
      instruments.forEach((instrument, index) => (instrument.Visible = chosen === "" || index === Number(chosen)));
      display.render();
    };
    display.render();
    this.status.textContent = "";
  }

  fail(text: string): void {
    this.status.textContent = text;
  }
}
