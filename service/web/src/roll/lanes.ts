/** The lane in which each track is drawn: all pitched tracks on one lane, or each on its own; drums below. */

import type { Note } from "../api/types";
import { type TrackView, trackKey } from "../transcription/tracks";

export interface Lane {
  name: string;
  keys: ReadonlySet<string>;
  isDrum: boolean;
  top: number;
  height: number;
  /** Rows from the top: pitches downwards, or the percussion keys that occur. */
  rows: readonly number[];
}

const GAP = 6;
const FEWEST_ROWS = 25;
const SEPARATE_ROWS = 14;
const MARGIN = 2;

export function layOut(notes: readonly Note[], tracks: readonly TrackView[], height: number, separate: boolean): Lane[] {
  const shown = tracks.filter((track) => !track.isRemoved);
  const pitched = shown.filter((track) => !track.isDrum);
  const drums = shown.filter((track) => track.isDrum);
  const groups = separate ? pitched.map((track) => [track]) : [pitched];
  const lanes = groups.map((group) => ({ group, isDrum: false }));
  if (drums.length > 0) lanes.push({ group: drums, isDrum: true });
  const rows = lanes.map(({ group, isDrum }) => laneRows(notes, group, isDrum, separate));
  const weights = rows.map((row, index) => (lanes[index]?.isDrum ? Math.max(row.length * 1.5, 4) : row.length));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const room = Math.max(height - GAP * (lanes.length - 1), 1);
  let top = 0;
  return lanes.map(({ group, isDrum }, index) => {
    const laneHeight = (room * (weights[index] ?? 1)) / total;
    const lane: Lane = {
      name: isDrum ? "Drums" : separate ? (group[0]?.name ?? "") : "",
      keys: new Set(group.map((track) => track.key)),
      isDrum, top, height: laneHeight, rows: rows[index] ?? [],
    };
    top += laneHeight + GAP;
    return lane;
  });
}

function laneRows(notes: readonly Note[], group: readonly TrackView[], isDrum: boolean, separate: boolean): number[] {
  const keys = new Set(group.map((track) => track.key));
  const pitches = new Set<number>();
  for (const note of notes) if (keys.has(trackKey(note))) pitches.add(note.pitch);
  if (isDrum) return [...pitches].sort((a, b) => b - a);
  const least = separate ? SEPARATE_ROWS : FEWEST_ROWS;
  let low = pitches.size ? Math.min(...pitches) : 60;
  let high = pitches.size ? Math.max(...pitches) : 60;
  const missing = Math.max(least - (high - low + 1 + 2 * MARGIN), 0);
  low = Math.max(low - MARGIN - Math.floor(missing / 2), 0);
  high = Math.min(high + MARGIN + Math.ceil(missing / 2), 127);
  return Array.from({ length: high - low + 1 }, (_, index) => high - index);
}

const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** 60 -> "C4". */
export function pitchName(pitch: number): string {
  return `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
}

export function isBlackKey(pitch: number): boolean {
  return [1, 3, 6, 8, 10].includes(pitch % 12);
}
