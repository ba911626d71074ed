/** The instruments of a transcription as the user sees, hears and edits them. */

import type { Note } from "../api/types";
import { trackColor } from "./palette";

export interface TrackView {
  /** The program's number, or `drums`. */
  key: string;
  name: string;
  color: string;
  /** The user chose the color. */
  hasOwnColor: boolean;
  isDrum: boolean;
  program: number;
  noteCount: number;
  isMuted: boolean;
  isSolo: boolean;
  isRemoved: boolean;
  /** 0 to 1. */
  volume: number;
}

export function trackKey(note: Note): string {
  return note.is_drum ? "drums" : String(note.program);
}

/** Groups notes; the user's settings of a track are kept, by its key. */
export function updateTracks(notes: readonly Note[], before: readonly TrackView[]): TrackView[] {
  const known = new Map(before.map((track) => [track.key, { ...track, noteCount: 0 }]));
  const found = new Map<string, TrackView>();
  for (const note of notes) {
    const key = trackKey(note);
    let track = found.get(key);
    if (track === undefined) {
      track = known.get(key) ?? newTrack(note, key);
      found.set(key, track);
    }
    track.noteCount += 1;
  }
  const tracks = [...found.values()].sort((a, b) => Number(a.isDrum) - Number(b.isDrum) || a.program - b.program);
  recolor(tracks);
  return tracks;
}

/** Colors in the order of programs, as in the picture of the piano roll. */
function recolor(tracks: TrackView[]): void {
  let index = 0;
  for (const track of tracks) {
    const color = trackColor(index, track.isDrum);
    if (!track.isDrum) index += 1;
    if (!track.hasOwnColor) track.color = color;
  }
}

function newTrack(note: Note, key: string): TrackView {
  return {
    key, name: note.instrument_name, color: "", hasOwnColor: false, isDrum: note.is_drum, program: note.program ?? 0,
    noteCount: 0, isMuted: false, isSolo: false, isRemoved: false, volume: 1,
  };
}

/** Whether a track sounds: any solo silences all others. */
export function isAudible(track: TrackView, tracks: readonly TrackView[]): boolean {
  if (track.isMuted || track.isRemoved) return false;
  return track.isSolo || !tracks.some((other) => other.isSolo && !other.isRemoved);
}

export function keptNotes(notes: readonly Note[], tracks: readonly TrackView[]): Note[] {
  const removed = new Set(tracks.filter((track) => track.isRemoved).map((track) => track.key));
  const names = new Map(tracks.map((track) => [track.key, track.name]));
  return notes
    .filter((note) => !removed.has(trackKey(note)))
    .map((note) => ({ ...note, instrument_name: names.get(trackKey(note)) ?? note.instrument_name }));
}
