/** Notes sorted by onset, so that the notes of a range are found without a full search. */

import type { Note } from "../api/types";

export class NoteIndex {
  readonly notes: readonly Note[];
  private readonly longest: number;

  constructor(notes: readonly Note[]) {
    this.notes = [...notes].sort((a, b) => a.start_time - b.start_time);
    this.longest = this.notes.reduce((most, note) => Math.max(most, note.end_time - note.start_time), 0);
  }

  /** The notes that sound at some time of a range. */
  *between(start: number, end: number): Generator<Note> {
    for (let at = this.firstFrom(start - this.longest); at < this.notes.length; at += 1) {
      const note = this.notes[at] as Note;
      if (note.start_time > end) return;
      if (note.end_time >= start) yield note;
    }
  }

  /** The notes that begin in a range: from `start`, before `end`. */
  *starting(start: number, end: number): Generator<Note> {
    for (let at = this.firstFrom(start); at < this.notes.length; at += 1) {
      const note = this.notes[at] as Note;
      if (note.start_time >= end) return;
      yield note;
    }
  }

  /** The onset nearest to a time and at most `within` seconds from it; else the time itself. */
  nearestOnset(seconds: number, within: number): number {
    let nearest = seconds;
    let distance = within;
    for (const note of this.starting(seconds - within, seconds + within)) {
      const off = Math.abs(note.start_time - seconds);
      if (off >= distance) continue;
      distance = off;
      nearest = note.start_time;
    }
    return nearest;
  }

  private firstFrom(seconds: number): number {
    let low = 0;
    let high = this.notes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.notes[middle] as Note).start_time < seconds) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
