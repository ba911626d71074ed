/** Reads a transcription that was saved as JSON. */

import type { Note, Transcription } from "../api/types";

/** Seconds; more than any transcription has. */
const LONGEST = 100_000;

function isNote(note: Partial<Note> | null): boolean {
  const { pitch, start_time: start, end_time: end } = note ?? {};
  return Number.isInteger(pitch) && pitch! >= 0 && pitch! <= 127
    && typeof start === "number" && typeof end === "number" && start >= 0 && end >= start && end <= LONGEST;
}

/** @returns null if the text is anything else. */
export function readTranscription(text: string): Transcription | null {
  try {
    const given = JSON.parse(text) as Partial<Transcription> | null;
    const isWhole = typeof given?.id === "string" && Array.isArray(given.notes) && Array.isArray(given.warnings)
      && given.notes.every(isNote) && typeof given.duration_seconds === "number" && given.usage !== undefined && given.model !== undefined;
    return isWhole ? (given as Transcription) : null;
  } catch {
    return null;
  }
}
