/** Reads a transcription that was saved as JSON. */

import type { Transcription } from "../api/types";

/** @returns null if the text is anything else. */
export function readTranscription(text: string): Transcription | null {
  try {
    const given = JSON.parse(text) as Partial<Transcription> | null;
    const isWhole = typeof given?.id === "string" && Array.isArray(given.notes) && Array.isArray(given.warnings)
      && typeof given.duration_seconds === "number" && given.usage !== undefined && given.model !== undefined;
    return isWhole ? (given as Transcription) : null;
  } catch {
    return null;
  }
}
