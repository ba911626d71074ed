/** Draws ruler, waveform, lanes and notes on a canvas. */

import type { Note } from "../api/types";
import { type TrackView, trackKey } from "../transcription/tracks";
import { isBlackKey, type Lane, pitchName } from "./lanes";
import type { NoteIndex } from "./note_index";
import { peakBetween } from "./peaks";
import { noteColor, type RollTheme } from "./theme";
import { clock, rulerTimes, type TimeAxis, toPixels, toSeconds } from "./time_axis";

export const RULER = 26;
export const WAVE = 60;
export const GUTTER = 54;
const FADED = 0.22;

export interface Scene {
  axis: TimeAxis;
  lanes: readonly Lane[];
  notes: NoteIndex;
  tracks: ReadonlyMap<string, TrackView>;
  audible: ReadonlySet<string>;
  peaks: Float32Array | null;
  loop: { start: number; end: number } | null;
  bars: readonly number[];
  beats: readonly number[];
  height: number;
  /** Seconds transcribed so far; the rest is hatched. Null when done. */
  doneSeconds: number | null;
}

export const LANES_TOP = RULER + WAVE + 8;

export function paintScene(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  const { axis, height } = scene;
  context.clearRect(0, 0, axis.width + GUTTER, height);
  context.save();
  context.translate(GUTTER, 0);
  context.beginPath();
  context.rect(0, 0, axis.width, height);
  context.clip();
  for (const lane of scene.lanes) paintRows(context, lane, axis.width, theme);
  paintGrid(context, scene, theme);
  paintWave(context, scene, theme);
  for (const lane of scene.lanes) paintNotes(context, lane, scene, theme);
  for (const lane of scene.lanes) if (!lane.isDrum && lane.name !== "") paintName(context, lane, theme);
  paintLoop(context, scene, theme);
  paintUndone(context, scene, theme);
  context.restore();
  for (const lane of scene.lanes) paintGutter(context, lane, theme);
}

function paintRows(context: CanvasRenderingContext2D, lane: Lane, width: number, theme: RollTheme): void {
  const top = LANES_TOP + lane.top;
  const row = lane.height / Math.max(lane.rows.length, 1);
  context.fillStyle = theme.ground;
  context.fillRect(0, top, width, lane.height);
  context.fillStyle = theme.blackKey;
  lane.rows.forEach((pitch, index) => {
    if (lane.isDrum ? index % 2 === 1 : isBlackKey(pitch)) context.fillRect(0, top + index * row, width, row);
  });
  if (lane.isDrum) return;
  context.fillStyle = theme.octave;
  lane.rows.forEach((pitch, index) => {
    if (pitch % 12 === 0) context.fillRect(0, Math.round(top + (index + 1) * row), width, 1);
  });
}

function paintGrid(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  const { axis, height } = scene;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  const hasBars = scene.bars.length > 1;
  for (const seconds of rulerTimes(axis)) {
    const x = Math.round(toPixels(axis, seconds));
    context.fillStyle = theme.line;
    if (!hasBars) context.fillRect(x, RULER, 1, height);
    else context.fillRect(x, RULER - 6, 1, 6);
    context.fillStyle = theme.text;
    context.fillText(clock(seconds, axis.pixelsPerSecond > 400 ? 1 : 0), x + 4, RULER / 2);
  }
  if (hasBars) paintBars(context, scene, theme);
}

function paintBars(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  const { axis, bars, beats, height } = scene;
  const isSeen = (seconds: number): boolean => seconds >= axis.start - 1 && toPixels(axis, seconds) <= axis.width + 1;
  const beatPixels = ((beats[1] ?? 1) - (beats[0] ?? 0)) * axis.pixelsPerSecond;
  context.fillStyle = theme.line;
  if (beatPixels >= 7) for (const beat of beats) if (isSeen(beat)) context.fillRect(Math.round(toPixels(axis, beat)), LANES_TOP, 1, height);
  const barPixels = ((bars[1] ?? 1) - (bars[0] ?? 0)) * axis.pixelsPerSecond;
  const every = [1, 2, 4, 8, 16, 32, 64].find((count) => count * barPixels >= 26) ?? 128;
  bars.forEach((bar, index) => {
    if (!isSeen(bar) || index % every !== 0) return;
    const x = Math.round(toPixels(axis, bar));
    context.fillStyle = theme.bar;
    context.fillRect(x, LANES_TOP - 8, 1, height);
    context.fillStyle = theme.text;
    context.fillText(String(index + 1), x + 3, LANES_TOP - 4);
  });
}

function paintWave(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  const { axis, peaks } = scene;
  const middle = RULER + WAVE / 2;
  context.fillStyle = theme.wave;
  if (peaks === null) {
    context.fillRect(0, middle, axis.width, 1);
    return;
  }
  for (let x = 0; x < axis.width; x += 1) {
    const peak = peakBetween(peaks, toSeconds(axis, x), toSeconds(axis, x + 1));
    const half = Math.max((peak * (WAVE - 6)) / 2, 0.5);
    context.fillRect(x, middle - half, 1, 2 * half);
  }
}

function paintNotes(context: CanvasRenderingContext2D, lane: Lane, scene: Scene, theme: RollTheme): void {
  const { axis, tracks, audible } = scene;
  const rowOf = new Map(lane.rows.map((pitch, index) => [pitch, index]));
  const paths = new Map<string, Path2D>();
  for (const note of scene.notes.between(axis.start, toSeconds(axis, axis.width))) {
    const key = trackKey(note);
    if (!lane.keys.has(key)) continue;
    let path = paths.get(key);
    if (path === undefined) paths.set(key, (path = new Path2D()));
    addNote(path, note, lane, rowOf, axis);
  }
  for (const [key, path] of paths) {
    context.globalAlpha = audible.has(key) ? 1 : FADED;
    context.fillStyle = noteColor(tracks.get(key)?.color ?? "#888888", theme);
    context.fill(path);
  }
  context.globalAlpha = 1;
}

export function addNote(path: Path2D, note: Note, lane: Lane, rowOf: ReadonlyMap<number, number>, axis: TimeAxis): void {
  const row = lane.height / Math.max(lane.rows.length, 1);
  const index = rowOf.get(note.pitch);
  if (index === undefined) return;
  const x = toPixels(axis, note.start_time);
  const y = LANES_TOP + lane.top + index * row;
  const inset = row > 4 ? 0.75 : 0;
  if (lane.isDrum) {
    // The length of a drum note has no meaning.
    const size = Math.min(Math.max(row - 2 * inset, 3), 9);
    path.rect(x, y + (row - size) / 2, Math.max(Math.min(size, axis.pixelsPerSecond * 0.12), 1.5), size);
    return;
  }
  const width = Math.max(toPixels(axis, note.end_time) - x - (axis.pixelsPerSecond > 30 ? 1 : 0), 1.5);
  const height = Math.max(row - 2 * inset, 1.5);
  if (row > 5 && width > 5) path.roundRect(x, y + inset, width, height, Math.min(3, height / 2));
  else path.rect(x, y + inset, width, height);
}

function paintLoop(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  if (scene.loop === null) return;
  const start = toPixels(scene.axis, scene.loop.start);
  const end = toPixels(scene.axis, scene.loop.end);
  context.fillStyle = theme.loop;
  context.fillRect(start, 0, end - start, scene.height);
  context.fillStyle = theme.accent;
  context.fillRect(start, 0, end - start, 3);
}

function paintUndone(context: CanvasRenderingContext2D, scene: Scene, theme: RollTheme): void {
  if (scene.doneSeconds === null) return;
  const x = toPixels(scene.axis, scene.doneSeconds);
  context.fillStyle = theme.loop;
  context.fillRect(x, LANES_TOP, scene.axis.width, scene.height);
}

function paintName(context: CanvasRenderingContext2D, lane: Lane, theme: RollTheme): void {
  context.font = "600 11px system-ui, sans-serif";
  context.textBaseline = "middle";
  const top = LANES_TOP + lane.top;
  context.globalAlpha = 0.85;
  context.fillStyle = theme.ground;
  context.fillRect(0, top, context.measureText(lane.name).width + 12, 16);
  context.globalAlpha = 1;
  context.fillStyle = theme.text;
  context.fillText(lane.name, 6, top + 8);
}

function paintGutter(context: CanvasRenderingContext2D, lane: Lane, theme: RollTheme): void {
  const top = LANES_TOP + lane.top;
  const row = lane.height / Math.max(lane.rows.length, 1);
  context.fillStyle = theme.text;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.font = "10px system-ui, sans-serif";
  if (lane.isDrum) context.fillText("Drums", GUTTER - 8, top + lane.height / 2);
  else
    lane.rows.forEach((pitch, index) => {
      if (pitch % 12 === 0) context.fillText(pitchName(pitch), GUTTER - 8, top + (index + 0.5) * row);
    });
  context.textAlign = "left";
}
