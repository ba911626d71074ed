import { expect, test } from "vitest";
import type { StreamEvent, TranscriptionHead } from "../src/api/types";
import { remainingSeconds, TranscriptionProgress } from "../src/transcription/progress";
import { BASS, note } from "./notes";

const HEAD = {
  id: "tr_1", created: 1, model: { name: "mt3" }, options: { postprocess: "default" }, duration_seconds: 4,
  recording_seconds: 9, tracks: [], warnings: [], usage: { audio_seconds: 4, wall_seconds: 2 },
} satisfies TranscriptionHead;
const STARTED: StreamEvent = { type: "transcription.started", id: "tr_1", duration_seconds: 4, recording_seconds: 9 };

function after(...events: StreamEvent[]): TranscriptionProgress {
  const progress = new TranscriptionProgress();
  for (const event of events) progress.apply(event);
  return progress;
}

test("a recording is sent, waits, and is transcribed", () => {
  const progress = new TranscriptionProgress();
  progress.sent(0.5);
  expect(progress.phase).toBe("sending");
  progress.sent(1);
  expect(progress.phase).toBe("waiting");
  progress.apply(STARTED);
  expect([progress.phase, progress.id, progress.recordingSeconds]).toEqual(["transcribing", "tr_1", 9]);
});

test("notes and progress accumulate", () => {
  const progress = after(STARTED, { type: "note", ...note() }, { type: "progress", done_seconds: 2, total_seconds: 4, fraction: 0.5 });
  expect(progress.notes).toEqual([note()]);
  expect(progress.fraction).toBe(0.5);
});

test("final notes replace those before the clean-up", () => {
  const progress = after(STARTED, { type: "note", ...note() }, { type: "final_note", ...BASS }, { type: "completed", transcription: HEAD });
  expect(progress.transcription).toEqual({ ...HEAD, notes: [BASS] });
  expect([progress.phase, progress.fraction]).toEqual(["done", 1]);
});

test("a clean-up that leaves nothing leaves nothing", () => {
  expect(after(STARTED, { type: "note", ...note() }, { type: "completed", transcription: HEAD }).notes).toEqual([]);
});

test("without clean-up the notes sent are final", () => {
  const head = { ...HEAD, options: { postprocess: "none" } };
  expect(after(STARTED, { type: "note", ...note() }, { type: "completed", transcription: head }).notes).toEqual([note()]);
});

test("an error ends it", () => {
  const progress = after(STARTED, { type: "error", title: "", status: 503, detail: "gone", code: "engine_failure" });
  expect([progress.phase, progress.problem?.code]).toEqual(["failed", "engine_failure"]);
});

test("remaining time follows the mean speed", () => {
  expect(remainingSeconds(0.25, 10)).toBe(30);
  expect(remainingSeconds(null, 10)).toBeNull();
  expect(remainingSeconds(0.001, 10)).toBeNull();
});
