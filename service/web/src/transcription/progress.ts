/** The state of a transcription, built from its events. */

import type { Note, Problem, StreamEvent, TranscriptionHead, Transcription, Warning } from "../api/types";

export type Phase = "sending" | "waiting" | "transcribing" | "done" | "failed";

export class TranscriptionProgress {
  phase: Phase = "sending";
  id: string | null = null;
  /** Notes so far; after the clean-up, the final ones. */
  notes: Note[] = [];
  warnings: Warning[] = [];
  head: TranscriptionHead | null = null;
  problem: Problem | null = null;
  recordingSeconds: number | null = null;
  /** Length of the range that is transcribed, as far as it is known. */
  totalSeconds: number | null = null;
  doneSeconds = 0;
  sentFraction = 0;
  private finalNotes: Note[] = [];

  sent(fraction: number): void {
    this.sentFraction = fraction;
    if (fraction >= 1 && this.phase === "sending") this.phase = "waiting";
  }

  apply(event: StreamEvent): void {
    switch (event.type) {
      case "transcription.started":
        this.phase = "transcribing";
        this.id = event.id;
        this.recordingSeconds = event.recording_seconds;
        this.totalSeconds = event.duration_seconds;
        break;
      case "note":
        this.notes.push(withoutType(event));
        break;
      case "final_note":
        this.finalNotes.push(withoutType(event));
        break;
      case "warning":
        this.warnings.push(event);
        break;
      case "progress":
        this.doneSeconds = event.done_seconds;
        this.totalSeconds = event.total_seconds ?? this.totalSeconds;
        break;
      case "completed":
        this.complete(event.transcription);
        break;
      case "error":
        this.phase = "failed";
        this.problem = event;
        break;
      case "segment":
        break;
    }
  }

  /** Fraction done, 0 to 1; null while the recording's length is not known. */
  get fraction(): number | null {
    if (this.phase === "done") return 1;
    return this.totalSeconds ? Math.min(this.doneSeconds / this.totalSeconds, 1) : null;
  }

  get transcription(): Transcription | null {
    return this.head === null ? null : { ...this.head, notes: this.notes };
  }

  private complete(head: TranscriptionHead): void {
    this.phase = "done";
    this.head = head;
    this.warnings = head.warnings;
    this.recordingSeconds = head.recording_seconds ?? this.recordingSeconds;
    this.doneSeconds = this.totalSeconds = head.duration_seconds;
    // With postprocess=none there are no final notes: those sent are final.
    if (this.finalNotes.length > 0 || head.options.postprocess !== "none") this.notes = this.finalNotes;
    this.notes.sort((a, b) => a.start_time - b.start_time);
  }
}

function withoutType<T extends { type: string }>(event: T): Omit<T, "type"> {
  const { type: _, ...note } = event;
  return note;
}

/** Seconds until the end, at the mean speed so far; null while that is not yet meaningful. */
export function remainingSeconds(fraction: number | null, elapsedSeconds: number): number | null {
  if (fraction === null || fraction < 0.02 || elapsedSeconds < 1) return null;
  return (elapsedSeconds / fraction) * (1 - fraction);
}
