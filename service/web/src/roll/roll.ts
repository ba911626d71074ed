/**
 * The view of a transcription: waveform and notes over one time axis, with a moving cursor.
 *
 * Notes are drawn when something changes; while music plays only the cursor and the sounding notes
 * move, on a canvas above. So playback stays smooth however many notes there are.
 */

import type { Note } from "../api/types";
import { isAudible, type TrackView, trackKey } from "../transcription/tracks";
import { layOut, type Lane } from "./lanes";
import { NoteIndex } from "./note_index";
import { addNote, GUTTER, LANES_TOP, paintScene, RULER, type Scene } from "./paint";
import { noteColor, readTheme, type RollTheme } from "./theme";
import { clamped, clock, fitAll, following, scrolled, type TimeAxis, toPixels, toSeconds, zoomed } from "./time_axis";

export interface RollHandlers {
  onSeek: (seconds: number) => void;
  onLoop: (loop: { start: number; end: number } | null) => void;
}

const DRAG_PIXELS = 6;
/** A picked time moves to a note's onset at most this far away. */
const SNAP_PIXELS = 10;
const ONSET_REACH_SECONDS = 0.1;

export class Roll {
  readonly element = document.createElement("div");
  private readonly ground = document.createElement("canvas");
  private readonly overlay = document.createElement("canvas");
  private axis: TimeAxis = fitAll(600, 10);
  private index = new NoteIndex([]);
  private tracks: readonly TrackView[] = [];
  private lanes: readonly Lane[] = [];
  private theme: RollTheme | null = null;
  private peaks: Float32Array | null = null;
  private loop: { start: number; end: number } | null = null;
  private bars: readonly number[] = [];
  private beats: readonly number[] = [];
  private doneSeconds: number | null = null;
  private isSeparate = false;
  private isFitted = true;
  private isDirty = false;
  private position = 0;
  private height = 300;
  private onPick: ((seconds: number) => void) | null = null;
  /** The time under the pointer while a time is picked. */
  private hovered: number | null = null;

  constructor(private readonly handlers: RollHandlers) {
    this.element.className = "roll";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "slider");
    this.element.setAttribute("aria-label", "Position in the recording");
    this.element.setAttribute("aria-valuemin", "0");
    this.ground.setAttribute("aria-hidden", "true");
    this.overlay.setAttribute("aria-hidden", "true");
    this.element.append(this.ground, this.overlay);
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.listen();
    this.setPosition(0);
  }

  setNotes(notes: readonly Note[], tracks: readonly TrackView[]): void {
    this.index = new NoteIndex(notes);
    this.setTracks(tracks);
  }

  setTracks(tracks: readonly TrackView[]): void {
    this.tracks = tracks;
    this.layOut();
  }

  setDuration(seconds: number): void {
    if (seconds === this.axis.duration || seconds <= 0) return;
    this.axis = this.isFitted ? fitAll(this.axis.width, seconds) : clamped({ ...this.axis, duration: seconds });
    this.element.setAttribute("aria-valuemax", seconds.toFixed(1));
    this.repaint();
  }

  setPeaks(peaks: Float32Array | null): void {
    this.peaks = peaks;
    this.repaint();
  }

  setLoop(loop: { start: number; end: number } | null): void {
    this.loop = loop;
    this.repaint();
  }

  setBars(bars: readonly number[], beats: readonly number[]): void {
    this.bars = bars;
    this.beats = beats;
    this.repaint();
  }

  setDone(seconds: number | null): void {
    this.doneSeconds = seconds;
    this.repaint();
  }

  /** The next click names a time, at an onset where one is near, instead of moving the cursor. Null ends that. */
  pick(onPick: ((seconds: number) => void) | null): void {
    this.onPick = onPick;
    this.hovered = null;
    this.element.classList.toggle("picking", onPick !== null);
    this.paintOverlay();
  }

  /** The onset of a note at most a tenth of a second from a time; else the time itself. */
  onsetNear(seconds: number): number {
    return this.index.nearestOnset(seconds, ONSET_REACH_SECONDS);
  }

  setSeparate(separate: boolean): void {
    this.isSeparate = separate;
    this.layOut();
  }

  /** Moves the cursor. @param follow turns the page when the cursor leaves it. */
  setPosition(seconds: number, follow = false): void {
    this.position = seconds;
    const value = seconds.toFixed(1);
    if (this.element.getAttribute("aria-valuenow") !== value) {
      this.element.setAttribute("aria-valuenow", value);
      this.element.setAttribute("aria-valuetext", clock(seconds));
    }
    if (follow) this.show(following(this.axis, seconds));
    this.paintOverlay();
  }

  zoom(factor: number): void {
    const cursor = toPixels(this.axis, this.position);
    const isSeen = cursor >= 0 && cursor <= this.axis.width;
    this.show(zoomed(this.axis, factor, isSeen ? cursor : this.axis.width / 2));
  }

  fit(): void {
    this.show(fitAll(this.axis.width, this.axis.duration));
  }

  repaint(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => this.paint());
  }

  rethemed(): void {
    this.theme = null;
    this.repaint();
  }

  private show(axis: TimeAxis): void {
    if (axis === this.axis) return;
    this.axis = axis;
    this.isFitted = axis.pixelsPerSecond <= (axis.width / axis.duration) * 1.001;
    this.repaint();
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect();
    if (width < GUTTER + 20) return;
    const ratio = window.devicePixelRatio;
    for (const canvas of [this.ground, this.overlay]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.height = height;
    const inner = width - GUTTER;
    this.axis = this.isFitted ? fitAll(inner, this.axis.duration) : clamped({ ...this.axis, width: inner });
    this.layOut();
  }

  private layOut(): void {
    this.lanes = layOut(this.index.notes, this.tracks, this.height - LANES_TOP - 2, this.isSeparate);
    this.repaint();
  }

  private get scene(): Scene {
    const audible = this.tracks.filter((track) => isAudible(track, this.tracks)).map((track) => track.key);
    return {
      axis: this.axis, lanes: this.lanes, notes: this.index, peaks: this.peaks, loop: this.loop,
      bars: this.bars, beats: this.beats, height: this.height, doneSeconds: this.doneSeconds,
      tracks: new Map(this.tracks.map((track) => [track.key, track])), audible: new Set(audible),
    };
  }

  private paint(): void {
    this.isDirty = false;
    const context = scaled(this.ground);
    if (context === null) return;
    this.theme ??= readTheme(this.element);
    paintScene(context, this.scene, this.theme);
    this.paintOverlay();
  }

  private paintOverlay(): void {
    const context = scaled(this.overlay);
    if (context === null || this.theme === null) return;
    context.clearRect(0, 0, this.axis.width + GUTTER, this.height);
    if (this.hovered !== null) {
      context.fillStyle = this.theme.accent;
      context.fillRect(GUTTER + toPixels(this.axis, this.hovered) - 1, LANES_TOP - 14, 2, this.height);
    }
    const x = toPixels(this.axis, this.position);
    if (x < -1 || x > this.axis.width + 1) return;
    context.save();
    context.translate(GUTTER, 0);
    this.paintSounding(context, this.theme);
    context.fillStyle = this.theme.accent;
    context.fillRect(x - 0.75, RULER - 6, 1.5, this.height);
    context.beginPath();
    context.arc(x, RULER - 6, 4.5, 0, 2 * Math.PI);
    context.fill();
    context.restore();
  }

  private paintSounding(context: CanvasRenderingContext2D, theme: RollTheme): void {
    const tracks = new Map(this.tracks.map((track) => [track.key, track]));
    for (const note of this.index.between(this.position, this.position)) {
      const track = tracks.get(trackKey(note));
      const lane = this.lanes.find((each) => track && each.keys.has(track.key));
      if (!track || !lane || !isAudible(track, this.tracks)) continue;
      const path = new Path2D();
      addNote(path, note, lane, new Map(lane.rows.map((pitch, index) => [pitch, index])), this.axis);
      context.fillStyle = context.shadowColor = noteColor(track.color, theme);
      context.shadowBlur = 14;
      context.fill(path);
      context.shadowBlur = 0;
      context.fillStyle = "rgb(255 255 255 / 45%)";
      context.fill(path);
    }
  }

  private listen(): void {
    let pressed: number | null = null;
    let isDragging = false;
    const at = (event: PointerEvent): number => {
      const x = event.clientX - this.element.getBoundingClientRect().left - GUTTER;
      return Math.min(Math.max(toSeconds(this.axis, x), 0), this.axis.duration);
    };
    const snapped = (event: PointerEvent): number => this.index.nearestOnset(at(event), SNAP_PIXELS / this.axis.pixelsPerSecond);
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.onPick !== null) return;
      pressed = at(event);
      isDragging = false;
      this.element.setPointerCapture(event.pointerId);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (this.onPick !== null) {
        this.hovered = snapped(event);
        this.paintOverlay();
      }
      if (pressed === null) return;
      const now = at(event);
      isDragging ||= Math.abs(now - pressed) * this.axis.pixelsPerSecond > DRAG_PIXELS;
      if (isDragging) this.setLoop({ start: Math.min(pressed, now), end: Math.max(pressed, now) });
    });
    this.element.addEventListener("pointerup", (event) => {
      if (this.onPick !== null) this.onPick(snapped(event));
      if (pressed === null) return;
      if (isDragging) this.handlers.onLoop(this.loop);
      else this.handlers.onSeek(at(event));
      pressed = null;
    });
    this.element.addEventListener("pointercancel", () => (pressed = null));
    this.element.addEventListener("pointerleave", () => {
      this.hovered = null;
      this.paintOverlay();
    });
    this.element.addEventListener(
      "wheel",
      (event) => {
        const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
        if (event.ctrlKey || event.metaKey) {
          const x = event.clientX - this.element.getBoundingClientRect().left - GUTTER;
          this.show(zoomed(this.axis, Math.exp(-event.deltaY / 240), x));
        } else if (sideways) this.show(scrolled(this.axis, event.deltaX || event.deltaY));
        else return;
        event.preventDefault();
      },
      { passive: false },
    );
  }
}

function scaled(canvas: HTMLCanvasElement): CanvasRenderingContext2D | null {
  const context = canvas.getContext("2d");
  context?.setTransform(window.devicePixelRatio, 0, 0, window.devicePixelRatio, 0, 0);
  return context;
}
