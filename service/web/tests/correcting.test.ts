import { expect, test } from "vitest";
import { readTranscription } from "../src/export/read_transcription";
import { jobTitle, titleOf } from "../src/jobs/jobs_api";
import type { Job } from "../src/api/types";
import { NoteIndex } from "../src/roll/note_index";
import { TapCounter } from "../src/transcription/tapping";
import { note } from "./notes";

test("four taps give a tempo, and a pause begins anew", () => {
  const taps = new TapCounter();
  expect([0, 500, 1000].map((time) => taps.tap(time))).toEqual([null, null, null]);
  expect(taps.tap(1500)).toBeCloseTo(120);
  expect(taps.tap(1980)).toBeCloseTo(121.2, 1);
  expect(taps.tap(9000)).toBeNull();
  expect(taps.count).toBe(1);
});

test("a time moves to the nearest onset in reach", () => {
  const index = new NoteIndex([note({ start_time: 1, end_time: 3 }), note({ start_time: 1.2, end_time: 2 })]);
  expect(index.nearestOnset(1.05, 0.2)).toBe(1);
  expect(index.nearestOnset(1.15, 0.2)).toBe(1.2);
  expect(index.nearestOnset(2, 0.2)).toBe(2);
});

test("only a transcription is read from JSON", () => {
  const whole = { id: "tr_1", notes: [], warnings: [], duration_seconds: 1, usage: {}, model: { name: "mt3" } };
  expect(readTranscription(JSON.stringify(whole))).toEqual(whole);
  for (const text of ["", "null", "[]", "{}", JSON.stringify({ ...whole, notes: 3 })]) expect(readTranscription(text)).toBeNull();
});

test("a job is named after its recordings, or by their number", () => {
  expect(jobTitle(["a.wav"])).toBe("a.wav");
  expect(jobTitle(["a.wav", "b.wav", "c.wav"])).toBe("a.wav and 2 more");
  const job = { metadata: {}, progress: { items_total: 2 } } as Job;
  expect(titleOf(job)).toBe("2 recordings");
  expect(titleOf({ ...job, metadata: { title: "a.wav and 1 more" } })).toBe("a.wav and 1 more");
});
