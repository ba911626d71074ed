/** Play, position, crossfade, volume, loop and zoom. */

import type { Player } from "../audio/player";
import type { Roll } from "../roll/roll";
import { clock } from "../roll/time_axis";
import { h, icon, iconButton } from "./dom";

export class Transport {
  readonly element = h("div", { className: "transport", role: "group", aria: { label: "Playback" } });
  private readonly playButton: HTMLButtonElement;
  private readonly loopButton: HTMLButtonElement;
  private readonly metronome: HTMLButtonElement;
  private readonly time = h("span", { className: "time" });
  private readonly meter = h("span", { className: "meter", role: "meter", aria: { label: "Level", valuemin: "0", valuemax: "1", valuenow: "0" } }, h("i"));
  private readonly mix = slider("Recording or transcription", 0, 1, 1);

  constructor(private readonly player: Player, private readonly roll: Roll, private readonly onError: (error: unknown) => void) {
    this.playButton = iconButton("play", "Play", () => void this.toggle(), "play-button");
    this.loopButton = iconButton("loop", "Loop the selected part", () => this.toggleLoop());
    const volume = slider("Volume", 0, 1, 0.9);
    volume.addEventListener("input", () => player.setVolume(Number(volume.value)));
    this.mix.addEventListener("input", () => player.setMix(Number(this.mix.value)));
    const rows = iconButton("rows", "A lane for each instrument", () => {
      const pressed = rows.getAttribute("aria-pressed") !== "true";
      rows.setAttribute("aria-pressed", String(pressed));
      roll.setSeparate(pressed);
    });
    rows.setAttribute("aria-pressed", "false");
    this.metronome = iconButton("metronome", "Metronome", () => {
      const pressed = this.metronome.getAttribute("aria-pressed") !== "true";
      this.metronome.setAttribute("aria-pressed", String(pressed));
      player.setMetronome(pressed);
    });
    this.metronome.setAttribute("aria-pressed", "false");
    this.metronome.disabled = true;
    this.element.append(
      this.playButton, this.time, this.meter,
      h("div", { className: "mix" }, h("span", {}, "Recording"), this.mix, h("span", {}, "Transcription")),
      h("div", { className: "volume" }, icon("volume"), volume),
      this.loopButton, this.metronome, rows,
      iconButton("minus", "Zoom out", () => roll.zoom(1 / 1.6)),
      iconButton("plus", "Zoom in", () => roll.zoom(1.6)),
      iconButton("fit", "Show all", () => roll.fit()),
    );
    this.refresh();
    this.frame();
  }

  /** Hides the crossfade where the browser cannot play the recording. */
  setRecordingPlayable(playable: boolean): void {
    this.mix.disabled = !playable;
    this.mix.value = playable ? "0.5" : "1";
    this.player.setMix(Number(this.mix.value));
  }

  /** The metronome needs beats. */
  setBeats(beats: readonly number[], downbeats: readonly number[]): void {
    this.player.setBeats(beats, downbeats);
    this.metronome.disabled = beats.length === 0;
  }

  toggleMetronome(): void {
    this.metronome.click();
  }

  async toggle(): Promise<void> {
    if (this.player.isPlaying) {
      this.player.pause();
      return;
    }
    this.playButton.classList.add("busy");
    try {
      await this.player.play();
    } catch (error) {
      this.onError(error);
    } finally {
      this.playButton.classList.remove("busy");
    }
  }

  toggleLoop(): void {
    const { player } = this;
    this.setLoop(player.loop === null ? { start: 0, end: player.duration } : null);
  }

  setLoop(loop: { start: number; end: number } | null): void {
    this.player.loop = loop;
    this.roll.setLoop(loop);
    if (loop !== null && (this.player.position < loop.start || this.player.position > loop.end)) this.player.seek(loop.start);
    this.refresh();
  }

  nudgeMix(step: number): void {
    if (this.mix.disabled) return;
    this.mix.value = String(Number(this.mix.value) + step);
    this.player.setMix(Number(this.mix.value));
  }

  refresh(): void {
    const label = this.player.isPlaying ? "Pause" : "Play";
    this.playButton.replaceChildren(icon(this.player.isPlaying ? "pause" : "play"));
    this.playButton.title = label;
    this.playButton.setAttribute("aria-label", label);
    this.loopButton.setAttribute("aria-pressed", String(this.player.loop !== null));
    this.showPosition();
  }

  private frame(): void {
    if (this.element.isConnected && this.player.isPlaying) this.showPosition();
    requestAnimationFrame(() => this.frame());
  }

  private showPosition(): void {
    const { position, duration, level, isPlaying } = this.player;
    const text = `${clock(position, 1)} / ${clock(duration)}`;
    if (this.time.textContent !== text) this.time.textContent = text;
    this.meter.setAttribute("aria-valuenow", level.toFixed(3));
    (this.meter.firstElementChild as HTMLElement).style.transform = `scaleX(${Math.min(Math.sqrt(level) * 1.4, 1).toFixed(3)})`;
    this.roll.setPosition(position, isPlaying);
  }
}

function slider(label: string, min: number, max: number, value: number): HTMLInputElement {
  const input = h("input", { type: "range", min: String(min), max: String(max), step: "0.01", aria: { label } });
  input.value = String(value);
  return input;
}
