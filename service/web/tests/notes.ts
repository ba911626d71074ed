import type { Note } from "../src/api/types";

export function note(fields: Partial<Note> = {}): Note {
  return {
    start_time: 0, end_time: 1, pitch: 60, velocity: 100, program: 0, is_drum: false, track: 0,
    instrument_name: "Acoustic Grand Piano", drum_name: null, confidence: null, ...fields,
  };
}

export const DRUM = note({ is_drum: true, program: null, pitch: 36, instrument_name: "Drums", start_time: 0.5, end_time: 0.51 });
export const BASS = note({ program: 33, pitch: 40, instrument_name: "Electric Bass (finger)", start_time: 2, end_time: 3 });
