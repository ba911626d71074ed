/** One transcription: while it is made, and as its result to hear, correct and take home. */

import type { Client } from "../api/client";
import type { Features } from "../api/features";
import { sentence } from "../api/problem";
import type { Note, Transcription, Warning } from "../api/types";
import { decodeRecording } from "../audio/decode";
import { Player } from "../audio/player";
import { writeFile } from "../export/files";
import { findPeaks } from "../roll/peaks";
import { Roll } from "../roll/roll";
import { clock } from "../roll/time_axis";
import { remainingSeconds, type TranscriptionProgress } from "../transcription/progress";
import { keptNotes, type TrackView, updateTracks } from "../transcription/tracks";
import { button, h, icon, iconButton } from "./dom";
import { DownloadsPanel } from "./downloads_panel";
import type { Notices } from "./notices";
import { ScorePanel } from "./score_panel";
import { type RhythmOptions, TempoPanel } from "./tempo_panel";
import { TracksPanel } from "./tracks_panel";
import { Transport } from "./transport";

export interface WorkHandlers {
  onBack: () => void;
  onCancel: () => void;
  /** The same recording with other options. */
  onAgain: (file: File | null) => void;
  /** Keeps the transcription on the server and shows its address; null where that cannot be. */
  onShare: ((file: File | null, transcription: Transcription) => void) | null;
}

export class WorkView {
  readonly element = h("section", { className: "work", hidden: true, aria: { label: "Transcription" } });
  private readonly title = h("h1", { className: "name" });
  private readonly facts = h("p", { className: "quiet facts" });
  private readonly progressBar = h("progress", { max: 1, aria: { label: "Progress" } });
  private readonly progressText = h("span", { role: "status" });
  private readonly progressRow: HTMLElement;
  private readonly results: HTMLElement;
  private readonly warnings = h("ul", { className: "warnings" });
  private readonly roll: Roll;
  private readonly player: Player;
  private readonly transport: Transport;
  private readonly tracksPanel: TracksPanel;
  private readonly tempoPanel: TempoPanel;
  private readonly canCorrectTempo: boolean;
  private readonly score = new ScorePanel();
  private readonly scoreTab: HTMLButtonElement;
  private readonly rollTab: HTMLButtonElement;
  private file: File | null = null;
  private notes: readonly Note[] = [];
  private tracks: TrackView[] = [];
  private transcription: Transcription | null = null;
  private began = 0;
  private scoreIsCurrent = false;
  private refreshing = false;

  constructor(
    private readonly client: Client, features: Features, private readonly notices: Notices,
    handlers: WorkHandlers,
  ) {
    this.roll = new Roll({ onSeek: (seconds) => this.player.seek(seconds), onLoop: (loop) => this.transport.setLoop(loop) });
    this.player = new Player(() => this.loadSoundfont(), () => this.transport.refresh());
    this.transport = new Transport(this.player, this.roll, (error) => notices.error(error));
    this.tracksPanel = new TracksPanel((tracks) => this.editTracks(tracks));
    this.canCorrectTempo = features.exportOptions?.has("tempo") ?? false;
    this.tempoPanel = new TempoPanel(() => this.player.position, (options) => void this.correctTempo(options));
    const downloads = new DownloadsPanel(
      client, features.exportOptions === null ? [] : features.formats, features.exportOptions?.has("quantize") ?? false,
      {
        transcription: () => this.edited, name: () => this.title.textContent ?? "", options: () => this.tempoPanel.options,
        renderWav: async (midi, seconds) => (await import("../export/render_audio")).renderWav(midi, await this.loadSoundfont(), seconds),
      },
      (error) => notices.error(error),
    );
    this.progressRow = h("div", { className: "progress-row" }, this.progressBar, this.progressText, button("Cancel", handlers.onCancel));
    this.rollTab = h("button", { type: "button", className: "tab", onclick: () => this.showScore(false) }, "Piano roll");
    this.scoreTab = h("button", { type: "button", className: "tab", onclick: () => this.showScore(true) }, "Score");
    this.scoreTab.hidden = !features.formats.includes("musicxml") || features.exportOptions === null;
    const again = button("Other options…", () => handlers.onAgain(this.file));
    const { onShare } = handlers;
    const share = onShare && h("button", { type: "button", className: "button", onclick: () => this.transcription && onShare(this.file, this.transcription) }, icon("link"), "Keep on the server");
    this.results = h("div", { className: "result-actions" }, again, share);
    const head = h(
      "header", { className: "work-head" },
      iconButton("back", "Back to the start", handlers.onBack), h("div", { className: "grow" }, this.title, this.facts), this.results,
    );
    const main = h(
      "div", { className: "work-main" },
      h("div", { className: "tabs", role: "group", aria: { label: "View" } }, this.rollTab, this.scoreTab),
      this.roll.element, this.score.element, this.transport.element,
    );
    this.element.append(head, this.progressRow, this.warnings, h("div", { className: "work-body" }, main, h("aside", { className: "side", aria: { label: "Instruments and downloads" } }, this.tracksPanel.element, this.tempoPanel.element, downloads.element)));
    document.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** Begins with a recording, which may be missing where it was not kept. */
  begin(name: string, file: File | null): void {
    this.player.clear();
    this.file = file;
    this.notes = [];
    this.tracks = [];
    this.transcription = null;
    this.scoreIsCurrent = false;
    this.began = performance.now();
    this.title.textContent = name;
    this.facts.textContent = "";
    this.roll.setPeaks(null);
    this.roll.setBars([], []);
    this.tempoPanel.begin();
    this.transport.setLoop(null);
    this.transport.setRecordingPlayable(false);
    this.showScore(false);
    this.showNotes();
    this.showWarnings([]);
    this.setBusy(true);
    if (file !== null) void this.decode(file);
  }

  /** Shows the state of a transcription that is being made. At most once a frame. */
  update(progress: TranscriptionProgress): void {
    if (this.refreshing) return;
    this.refreshing = true;
    requestAnimationFrame(() => {
      this.refreshing = false;
      if (this.transcription === null) this.showProgress(progress);
    });
  }

  finish(transcription: Transcription): void {
    this.transcription = transcription;
    this.notes = transcription.notes;
    this.setBusy(false);
    this.roll.setDone(null);
    this.setDuration(transcription.recording_seconds ?? transcription.duration_seconds);
    this.showNotes();
    this.showTempo(transcription);
    this.showWarnings(transcription.warnings);
    const { audio_seconds, wall_seconds } = transcription.usage;
    const speed = wall_seconds > 0 ? `, ${(audio_seconds / wall_seconds).toFixed(1)} × real time` : "";
    this.facts.textContent = `${clock(transcription.duration_seconds)} of music, model ${transcription.model.name}${speed}`;
  }

  /** Shows why there is no result. */
  fail(): void {
    this.setBusy(false);
    this.results.hidden = false;
    this.roll.setDone(null);
  }

  leave(): void {
    this.player.clear();
  }

  rethemed(): void {
    this.roll.rethemed();
  }

  private get edited(): Transcription | null {
    return this.transcription && { ...this.transcription, notes: keptNotes(this.notes, this.tracks) };
  }

  private showProgress(progress: TranscriptionProgress): void {
    this.notes = progress.notes;
    this.setDuration(progress.recordingSeconds ?? progress.totalSeconds ?? 0);
    this.roll.setDone(progress.doneSeconds);
    this.showNotes();
    this.showWarnings(progress.warnings);
    const { fraction, phase } = progress;
    const text = {
      sending: `Sending… ${Math.round(progress.sentFraction * 100)} %`,
      waiting: "Waiting for the server…",
      transcribing: this.transcribingText(progress),
      done: "", failed: progress.problem ? sentence(progress.problem) : "",
    }[phase];
    if (phase === "sending") this.progressBar.value = progress.sentFraction;
    else if (fraction === null) this.progressBar.removeAttribute("value");
    else this.progressBar.value = fraction;
    if (this.progressText.textContent !== text) this.progressText.textContent = text;
    if (phase === "sending" || phase === "waiting") this.began = performance.now();
  }

  private transcribingText(progress: TranscriptionProgress): string {
    const remaining = remainingSeconds(progress.fraction, (performance.now() - this.began) / 1000);
    const left = remaining === null ? "" : `, ${remaining < 1.5 ? "almost done" : `${clock(Math.ceil(remaining))} left`}`;
    const total = progress.totalSeconds === null ? "" : ` of ${clock(progress.totalSeconds)}`;
    return `Transcribing ${clock(progress.doneSeconds)}${total}${left}`;
  }

  private showNotes(): void {
    this.tracks = updateTracks(this.notes, this.tracks);
    this.roll.setNotes(this.notes, this.tracks);
    this.player.setNotes(this.notes);
    this.player.setTracks(this.tracks);
    this.tracksPanel.update(this.tracks);
  }

  private editTracks(tracks: TrackView[]): void {
    this.tracks = tracks;
    this.roll.setTracks(tracks);
    this.player.setTracks(tracks);
    this.tracksPanel.update(tracks);
    this.scoreIsCurrent = false;
  }

  private showTempo(transcription: Transcription): void {
    this.roll.setBars(transcription.tempo?.downbeats ?? [], transcription.tempo?.beats ?? []);
    if (this.canCorrectTempo) this.tempoPanel.show(transcription);
  }

  private async correctTempo(options: RhythmOptions): Promise<void> {
    const { edited } = this;
    if (edited === null) return;
    try {
      const answer = await writeFile(this.client, edited, "json", options);
      const { tempo, time_signature, key } = JSON.parse(await answer.text()) as Transcription;
      if (this.transcription === null) return;
      Object.assign(this.transcription, { tempo, time_signature, key });
      this.scoreIsCurrent = false;
      this.showTempo(this.transcription);
    } catch (error) {
      this.notices.error(error);
      if (this.transcription !== null) this.showTempo(this.transcription);
    }
  }

  private setDuration(seconds: number): void {
    this.player.duration = seconds;
    this.roll.setDuration(seconds);
    this.transport.refresh();
  }

  private setBusy(busy: boolean): void {
    this.progressRow.hidden = !busy;
    this.results.hidden = busy;
    this.element.classList.toggle("busy", busy);
    this.element.setAttribute("aria-busy", String(busy));
    if (busy) this.progressBar.removeAttribute("value");
  }

  private showWarnings(warnings: readonly Warning[]): void {
    const key = warnings.map((warning) => warning.message).join("|");
    if (this.warnings.dataset.shown === key) return;
    this.warnings.dataset.shown = key;
    this.warnings.replaceChildren(
      ...warnings.map(({ message, start }) => {
        const text = message.charAt(0).toUpperCase() + message.slice(1);
        const place = start === null ? null : h("button", { type: "button", className: "link", onclick: () => this.player.seek(start) }, clock(start));
        return h("li", {}, text, place && " (at ", place, place && ")");
      }),
    );
  }

  private async decode(file: File): Promise<void> {
    const buffer = await decodeRecording(file);
    if (this.file !== file) return;
    this.player.setRecording(buffer);
    this.transport.setRecordingPlayable(buffer !== null);
    if (buffer === null) return;
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
    this.roll.setPeaks(findPeaks(channels, buffer.sampleRate));
    if (this.player.duration === 0) this.setDuration(buffer.duration);
  }

  private async loadSoundfont(): Promise<ArrayBuffer> {
    return (await this.client.fetch("v1/soundfont")).arrayBuffer();
  }

  private showScore(score: boolean): void {
    this.rollTab.setAttribute("aria-pressed", String(!score));
    this.scoreTab.setAttribute("aria-pressed", String(score));
    this.score.element.hidden = !score;
    this.roll.element.hidden = score;
    if (score && !this.scoreIsCurrent && this.edited !== null) void this.drawScore(this.edited);
  }

  private async drawScore(transcription: Transcription): Promise<void> {
    this.scoreIsCurrent = true;
    try {
      const file = await writeFile(this.client, transcription, "musicxml", this.tempoPanel.options);
      await this.score.show(await file.text());
    } catch (error) {
      this.scoreIsCurrent = false;
      this.score.fail("The score cannot be drawn.");
      this.notices.error(error);
    }
  }

  private onKey(event: KeyboardEvent): void {
    if (this.element.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (target.matches("input, select, textarea, dialog *")) return;
    if (event.key === " " && target.matches("button, a, summary")) return;
    const actions: Record<string, () => void> = {
      " ": () => void this.transport.toggle(),
      ArrowLeft: () => this.player.seek(this.player.position - (event.shiftKey ? 15 : 3)),
      ArrowRight: () => this.player.seek(this.player.position + (event.shiftKey ? 15 : 3)),
      Home: () => this.player.seek(0),
      End: () => this.player.seek(this.player.duration),
      l: () => this.transport.toggleLoop(),
      "+": () => this.roll.zoom(1.6),
      "-": () => this.roll.zoom(1 / 1.6),
      "0": () => this.roll.fit(),
      "[": () => this.transport.nudgeMix(-0.1),
      "]": () => this.transport.nudgeMix(0.1),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }
}
