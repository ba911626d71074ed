/** One transcription: its progress, and its result to play, correct and download. */

import type { Client } from "../api/client";
import type { Features } from "../api/features";
import { inPageWords } from "../api/problem";
import type { Note, Transcription, Warning } from "../api/types";
import { decodeRecording } from "../audio/decode";
import { Player } from "../audio/player";
import { writeFile } from "../export/files";
import { findPeaks } from "../roll/peaks";
import { Roll } from "../roll/roll";
import { clock } from "../roll/time_axis";
import type { TranscriptionProgress } from "../transcription/progress";
import type { Edits, RhythmOptions } from "../transcription/edits";
import { keptNotes, type TrackView, updateTracks } from "../transcription/tracks";
import { button, h, icon, iconButton } from "./dom";
import { DownloadsPanel } from "./downloads_panel";
import type { Notices } from "./notices";
import { ScorePanel } from "./score_panel";
import { RecordingStrip } from "./recording_strip";
import { ProgressRow } from "./progress_row";
import { listenForShortcuts, type Shortcut, shortcutList } from "./shortcuts";
import { TempoPanel } from "./tempo_panel";
import { TracksPanel } from "./tracks_panel";
import { Transport } from "./transport";

export interface WorkHandlers {
  onBack: () => void;
  onCancel: () => void;
  /** The same recording with other options. */
  onAgain: (file: File | null) => void;
  /** Keeps the transcription on the server and shows its address; null if that is not possible. */
  onShare: ((file: File | null, transcription: Transcription) => void) | null;
  onEdit: (edits: Edits) => void;
  /** Keeps a missing recording that has been provided again; ends when it survives a reload. */
  onRecording: (file: File) => Promise<void>;
}

const LENGTH_TOLERANCE_SECONDS = 1;

export class WorkView {
  readonly element = h("section", { className: "work", hidden: true, aria: { label: "Transcription" } });
  private readonly title = h("h1", { className: "name" });
  private readonly facts = h("p", { className: "quiet facts" });
  private readonly progress: ProgressRow;
  private readonly results: HTMLElement;
  private readonly strip = new RecordingStrip((file) => void this.attach(file));
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
  /** The recording is not available anywhere. */
  private isMissing = false;
  private notes: readonly Note[] = [];
  private tracks: TrackView[] = [];
  private transcription: Transcription | null = null;
  private scoreIsCurrent = false;
  private refreshing = false;
  private corrections = 0;

  constructor(
    private readonly client: Client, features: Features, private readonly notices: Notices,
    private readonly handlers: WorkHandlers,
  ) {
    this.roll = new Roll({ onSeek: (seconds) => this.player.seek(seconds), onLoop: (loop) => this.transport.setLoop(loop) });
    this.player = new Player(() => this.loadSoundfont(), () => this.transport.refresh());
    this.transport = new Transport(this.player, this.roll, (error) => notices.error(error));
    this.tracksPanel = new TracksPanel((tracks) => this.editTracks(tracks));
    this.canCorrectTempo = features.exportOptions?.has("tempo") ?? false;
    this.tempoPanel = new TempoPanel({
      position: () => this.roll.onsetNear(this.player.position),
      pick: (onPick) => {
        if (onPick !== null) this.showScore(false);
        this.roll.pick(onPick);
      },
      onChange: (options) => this.correctTempo(options),
    });
    const downloads = new DownloadsPanel(
      client, features.exportOptions === null ? [] : features.formats, features.exportOptions?.has("quantize") ?? false,
      {
        transcription: () => this.edited, name: () => this.title.textContent ?? "", options: () => this.tempoPanel.options,
        renderWav: async (midi, seconds) => (await import("../export/render_audio")).renderWav(midi, await this.loadSoundfont(), seconds),
      },
      (error) => notices.error(error),
    );
    this.progress = new ProgressRow(handlers.onCancel);
    this.rollTab = h("button", { type: "button", className: "tab", onclick: () => this.showScore(false) }, "Piano roll");
    this.scoreTab = h("button", { type: "button", className: "tab", onclick: () => this.showScore(true) }, "Score");
    this.scoreTab.hidden = !features.formats.includes("musicxml") || features.exportOptions === null;
    const again = button("Other options…", () => handlers.onAgain(this.file));
    const { onShare } = handlers;
    const share = onShare && h("button", { type: "button", className: "button", onclick: () => this.transcription && onShare(this.file, this.transcription) }, icon("link"), "Keep on the server");
    this.results = h("div", { className: "result-actions" }, again, share);
    const { shortcuts } = this;
    const head = h(
      "header", { className: "work-head" },
      iconButton("back", "Back to the start", handlers.onBack), h("div", { className: "grow" }, this.title, this.facts), this.results,
    );
    const main = h(
      "div", { className: "work-main" },
      h("div", { className: "tabs", role: "group", aria: { label: "View" } }, this.rollTab, this.scoreTab),
      this.strip.element, this.roll.element, this.score.element, this.transport.element,
    );
    this.element.append(head, this.progress.element, this.warnings, h("div", { className: "work-body" }, main, h("aside", { className: "side", aria: { label: "Instruments and downloads" } }, this.tracksPanel.element, this.tempoPanel.element, downloads.element, shortcutList(shortcuts))));
    listenForShortcuts(shortcuts, () => !this.element.hidden);
    this.setBusy(true);
  }

  /** Whether the user is asked for the recording. */
  get wantsRecording(): boolean {
    return !this.element.hidden && this.strip.isShown;
  }

  /** Clears the view for a transcription that is being made or loaded. */
  begin(name: string): void {
    this.player.clear();
    this.file = null;
    this.notes = [];
    this.tracks = [];
    this.transcription = null;
    this.scoreIsCurrent = false;
    this.progress.begin();
    this.title.textContent = name;
    this.isMissing = false;
    this.showMissing();
    this.facts.textContent = "";
    this.roll.setPeaks(null);
    this.roll.setBars([], []);
    this.transport.setBeats([], []);
    this.tempoPanel.begin();
    this.transport.setLoop(null);
    this.transport.setRecordingPlayable(false);
    this.showScore(false);
    this.showNotes();
    this.showWarnings([]);
    this.setBusy(true);
  }

  setName(name: string): void {
    this.title.textContent = name;
  }

  /** Takes the recording; null if none is available. */
  setRecording(file: File | null): void {
    this.file = file;
    this.isMissing = file === null;
    this.showMissing();
    if (file !== null) void this.decode(file);
  }

  /** Shows what the page is waiting for when no progress is known. */
  wait(text: string): void {
    this.progress.say(text);
  }

  /** Takes the recording of a transcription that has none. */
  async attach(file: File): Promise<void> {
    const { transcription } = this;
    const buffer = await decodeRecording(file);
    if (this.transcription !== transcription || transcription === null) return;
    const expected = transcription.recording_seconds ?? transcription.duration_seconds;
    if (buffer === null) this.notices.say(`This browser cannot decode “${file.name}”. Try WAV, MP3 or M4A.`);
    else if (Math.abs(buffer.duration - expected) > LENGTH_TOLERANCE_SECONDS)
      this.notices.say(`“${file.name}” lasts ${clock(buffer.duration)}, but the transcribed recording lasts ${clock(expected)}. Choose the same recording.`);
    else {
      await this.handlers.onRecording(file);
      if (this.transcription !== transcription) return;
      this.file = file;
      this.isMissing = false;
      this.useRecording(buffer);
    }
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

  /** @param edits the user's earlier changes. */
  finish(transcription: Transcription, edits: Edits | null = null): void {
    this.transcription = transcription;
    this.notes = transcription.notes;
    if (edits !== null) {
      this.tracks = [...edits.tracks];
      this.tempoPanel.begin(edits.rhythm);
    }
    this.showMissing();
    this.setBusy(false);
    this.roll.setDone(null);
    this.setDuration(transcription.recording_seconds ?? transcription.duration_seconds);
    this.showNotes();
    this.showTempo(transcription);
    if (Object.keys(this.tempoPanel.options).length > 0) void this.correctTempo(this.tempoPanel.options);
    this.showWarnings(transcription.warnings);
    this.facts.textContent = `${clock(transcription.duration_seconds)} of music, model ${transcription.model.name}`;
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
    this.progress.show(progress);
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
    this.scoreChanged();
    this.keepEdits();
  }

  private keepEdits(): void {
    this.handlers.onEdit({ tracks: this.tracks, rhythm: this.tempoPanel.options });
  }

  private showTempo(transcription: Transcription): void {
    const { beats = [], downbeats = [] } = transcription.tempo ?? {};
    this.roll.setBars(downbeats, beats);
    this.transport.setBeats(beats, downbeats);
    if (this.canCorrectTempo) this.tempoPanel.show(transcription);
  }

  private async correctTempo(options: RhythmOptions): Promise<boolean> {
    const { edited, transcription } = this;
    if (edited === null || transcription === null) return false;
    const number = (this.corrections += 1);
    try {
      const answer = await writeFile(this.client, edited, "json", options);
      const { tempo, time_signature, key, warnings } = JSON.parse(await answer.text()) as Transcription;
      // Another transcription or a later correction may have arrived in the meantime.
      if (this.transcription !== transcription || number !== this.corrections) return true;
      this.notices.clear();
      Object.assign(transcription, { tempo, time_signature, key, warnings });
      this.showWarnings(warnings);
      this.showTempo(transcription);
      this.scoreChanged();
      this.keepEdits();
      return true;
    } catch (error) {
      this.notices.error(error);
      if (this.transcription === transcription) this.showTempo(transcription);
      return false;
    }
  }

  private setDuration(seconds: number): void {
    this.player.duration = seconds;
    this.roll.setDuration(seconds);
    this.transport.refresh();
  }

  private setBusy(busy: boolean): void {
    this.progress.element.hidden = !busy;
    this.results.hidden = busy;
    this.element.classList.toggle("busy", busy);
    this.element.setAttribute("aria-busy", String(busy));
  }

  private showWarnings(warnings: readonly Warning[]): void {
    const key = warnings.map((warning) => warning.message).join("|");
    if (this.warnings.dataset.shown === key) return;
    this.warnings.dataset.shown = key;
    this.warnings.replaceChildren(
      ...warnings.map(({ message, start }) => {
        const words = inPageWords(message);
        const text = words.charAt(0).toUpperCase() + words.slice(1);
        const place = start === null ? null : h("button", { type: "button", className: "link", onclick: () => this.player.seek(start) }, clock(start));
        return h("li", {}, text, place && " (at ", place, place && ")");
      }),
    );
  }

  private async decode(file: File): Promise<void> {
    const buffer = await decodeRecording(file);
    if (this.file !== file) return;
    if (buffer === null) this.strip.show("undecodable");
    else this.useRecording(buffer);
  }

  /** The user is asked nothing while a transcription is being made. */
  private showMissing(): void {
    this.strip.show(this.isMissing && this.transcription !== null ? "absent" : null);
  }

  private useRecording(buffer: AudioBuffer): void {
    this.strip.show(null);
    this.player.setRecording(buffer);
    this.transport.setRecordingPlayable(true);
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

  private scoreChanged(): void {
    this.scoreIsCurrent = false;
    if (!this.score.element.hidden) this.showScore(true);
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

  private get shortcuts(): Shortcut[] {
    const { player, roll, transport, tempoPanel } = this;
    const step = (event: KeyboardEvent): number => (event.shiftKey ? 15 : 3);
    return [
      { keys: [" "], shown: "Space", about: "play, pause", act: () => void transport.toggle() },
      { keys: ["ArrowLeft"], shown: "←", about: "3 s back; 15 s with Shift", act: (event) => player.seek(player.position - step(event)) },
      { keys: ["ArrowRight"], shown: "→", about: "3 s forward; 15 s with Shift", act: (event) => player.seek(player.position + step(event)) },
      { keys: ["Home"], about: "to the beginning", act: () => player.seek(0) },
      { keys: ["End"], about: "to the end", act: () => player.seek(player.duration) },
      { keys: ["l", "L"], shown: "L", about: "loop", act: () => transport.toggleLoop() },
      { keys: ["m", "M"], shown: "M", about: "metronome", act: () => transport.toggleMetronome() },
      { keys: ["["], about: "more of the recording", act: () => transport.nudgeMix(-0.1) },
      { keys: ["]"], about: "more of the transcription", act: () => transport.nudgeMix(0.1) },
      { keys: ["+", "="], about: "zoom in", act: () => roll.zoom(1.6) },
      { keys: ["-"], about: "zoom out", act: () => roll.zoom(1 / 1.6) },
      { keys: ["0"], about: "show all", act: () => roll.fit() },
      { keys: ["b", "B"], shown: "B", about: "start a bar at the cursor", act: () => tempoPanel.barLineHere() },
      { keys: ["Escape"], shown: "Esc", about: "cancel placing a bar line", act: () => void tempoPanel.cancelPick() },
    ];
  }
}
