/** The user's changes to a transcription. */

import type { TrackView } from "./tracks";

/** Options of `POST /v1/exports`; those that the user has not set are left out. */
export type RhythmOptions = Partial<Record<"tempo" | "time_signature" | "first_downbeat", string>>;

export interface Edits {
  tracks: readonly TrackView[];
  rhythm: RhythmOptions;
}
