/** The API's JSON as the page reads it; `service/schemas` defines it. */

export interface Note {
  start_time: number;
  end_time: number;
  pitch: number;
  velocity: number;
  program: number | null;
  is_drum: boolean;
  track: number;
  instrument_name: string;
  drum_name: string | null;
  confidence: number | null;
}

export interface Warning {
  code: string;
  message: string;
  start: number | null;
  end: number | null;
}

/** A transcription without its notes: the end of a stream. Unknown fields are kept for exports. */
export interface TranscriptionHead {
  id: string;
  created: number;
  model: { name: string; [field: string]: unknown };
  options: Record<string, unknown>;
  duration_seconds: number;
  recording_seconds: number | null;
  tracks: unknown[];
  /** Absent on older servers, null where the recording has too few notes. */
  tempo?: { beats_per_minute: number; confidence: number; beats: number[]; downbeats: number[] } | null;
  time_signature?: { numerator: number; denominator: number; confidence: number } | null;
  key?: { name: string; confidence: number } | null;
  warnings: Warning[];
  usage: { audio_seconds: number; wall_seconds: number; [field: string]: unknown };
  [field: string]: unknown;
}

export interface Transcription extends TranscriptionHead {
  notes: Note[];
}

/** A problem document (RFC 9457). */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  code: string;
  request_id?: string | null;
  param?: string | null;
  retry_after_seconds?: number | null;
}

export type StreamEvent =
  | { type: "transcription.started"; id: string; duration_seconds: number | null; recording_seconds: number | null }
  | { type: "segment"; index: number; start: number; end: number; note_count: number }
  | ({ type: "note" } & Note)
  | ({ type: "final_note" } & Note)
  | ({ type: "warning" } & Warning)
  | { type: "progress"; done_seconds: number; total_seconds: number | null; fraction: number | null }
  | { type: "completed"; transcription: TranscriptionHead }
  | ({ type: "error" } & Problem);

export type JobState = "queued" | "processing" | "succeeded" | "failed" | "canceled";

export interface Job {
  id: string;
  status: JobState;
  created_at: string;
  ended_at: string | null;
  expires_at: string;
  metadata: Record<string, unknown>;
  queue_position: number | null;
  error: { code: string; message: string } | null;
  progress: {
    items_total: number;
    items_done: number;
    items_succeeded: number;
    items_failed: number;
    audio_seconds_done: number;
  };
}

export interface JobItem {
  number: number;
  name: string | null;
  status: JobState;
  audio_seconds: number | null;
  attempts: number;
  error: { code: string; message: string } | null;
  warnings: Warning[];
  result: string | null;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}
