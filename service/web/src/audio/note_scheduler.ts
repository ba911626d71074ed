/** Schedules the beginning and end of notes while music plays. */

import type { Note } from "../api/types";
import { NoteIndex } from "../roll/note_index";
import { trackKey } from "../transcription/tracks";

export interface NoteSink {
  noteOn(key: string, pitch: number, velocity: number, time: number): void;
  noteOff(key: string, pitch: number, time: number): void;
}

/** A drum's note is an onset only; the sample ends by itself. */
const DRUM_SECONDS = 0.2;
/** A note ends just before the next of its pitch may begin, or it would end that one. */
const EARLY_SECONDS = 0.002;

export class NoteScheduler {
  private index = new NoteIndex([]);
  private sounding: Note[] = [];
  private scheduledTo = 0;

  setNotes(notes: readonly Note[]): void {
    this.index = new NoteIndex(notes);
  }

  /** Begins at a position; notes that sound there already begin with it. */
  begin(position: number, time: number, sink: NoteSink): void {
    this.sounding = [];
    this.scheduledTo = position;
    for (const note of this.index.between(position, position))
      if (note.start_time < position && note.end_time > position + 0.05 && !note.is_drum) this.on(note, time, sink);
  }

  /**
   * Schedules all up to a position.
   *
   * @param timeOf the time, on the sink's clock, at which a position is reached.
   */
  advance(to: number, timeOf: (position: number) => number, sink: NoteSink): void {
    if (to <= this.scheduledTo) return;
    for (const note of this.index.starting(this.scheduledTo, to)) this.on(note, timeOf(note.start_time), sink);
    this.sounding = this.sounding.filter((note) => {
      const end = endOf(note);
      if (end >= to) return true;
      sink.noteOff(trackKey(note), note.pitch, timeOf(end));
      return false;
    });
    this.scheduledTo = to;
  }

  private on(note: Note, time: number, sink: NoteSink): void {
    sink.noteOn(trackKey(note), note.pitch, Math.max(note.velocity, 1), time);
    this.sounding.push(note);
  }
}

function endOf(note: Note): number {
  if (note.is_drum) return Math.max(note.end_time, note.start_time + DRUM_SECONDS);
  return Math.max(note.end_time - EARLY_SECONDS, note.start_time + EARLY_SECONDS);
}
