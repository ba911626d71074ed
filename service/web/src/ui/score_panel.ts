/** The transcription as notation, drawn when it is first shown. */

import type { OpenSheetMusicDisplay } from "opensheetmusicdisplay";
import { h } from "./dom";

/** A page of this width, in pixels, is drawn at full size; narrower ones smaller. */
const FULL_SIZE_WIDTH = 1250;
const SMALLEST = 0.5;

export class ScorePanel {
  readonly element = h("section", { className: "score", hidden: true, aria: { label: "Score" } });
  private readonly parts = h("select", { aria: { label: "Part" } });
  private readonly page = h("div", { className: "score-page" });
  private readonly status = h("p", { className: "quiet", role: "status" });
  private display: OpenSheetMusicDisplay | null = null;
  private drawnWidth = 0;

  constructor() {
    this.element.append(h("div", { className: "score-bar" }, h("label", { className: "field" }, "Part ", this.parts)), this.status, this.page);
    this.parts.addEventListener("change", () => this.draw());
    // The library's own resizing draws hidden pages too, and warns that they have no width.
    new ResizeObserver(() => {
      const width = this.page.clientWidth;
      if (width > 0 && width !== this.drawnWidth) this.draw();
    }).observe(this.page);
  }

  async show(musicXml: string): Promise<void> {
    this.status.textContent = "Drawing the score…";
    const { OpenSheetMusicDisplay } = await import("opensheetmusicdisplay");
    this.page.replaceChildren();
    const display = new OpenSheetMusicDisplay(this.page, {
      autoResize: false, drawingParameters: "compacttight", drawTitle: false, drawComposer: false,
      drawPartNames: true, pageBackgroundColor: "#ffffff",
    });
    await display.load(musicXml);
    const chosen = this.parts.selectedOptions[0]?.textContent;
    this.parts.replaceChildren(
      h("option", { value: "" }, "All parts"),
      ...display.Sheet.Instruments.map((instrument, index) => h("option", { value: String(index) }, instrument.Name || `Part ${index + 1}`)),
    );
    // The part stays selected when the score is drawn again.
    const again = [...this.parts.options].find((option) => option.textContent === chosen);
    if (again !== undefined) again.selected = true;
    this.display = display;
    this.draw();
    this.status.textContent = "";
  }

  fail(text: string): void {
    this.display = null;
    this.page.replaceChildren();
    this.status.textContent = text;
  }

  private draw(): void {
    const { display } = this;
    const width = this.page.clientWidth;
    if (display === null || width === 0) return;
    this.drawnWidth = width;
    const chosen = this.parts.value;
    display.Sheet.Instruments.forEach((instrument, index) => (instrument.Visible = chosen === "" || index === Number(chosen)));
    display.Zoom = Math.min(Math.max(width / FULL_SIZE_WIDTH, SMALLEST), 1);
    display.render();
  }
}
